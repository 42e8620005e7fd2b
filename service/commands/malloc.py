"""What glibc does with memory that is freed; elsewhere nothing here has an effect."""

import ctypes

# By their numbers in malloc.h. Larger blocks stay apart from the rest, which they would leave in pieces.
_ARENA_MAX, _TRIM_THRESHOLD, _MMAP_THRESHOLD = -8, -1, -3
OPTIONS = {_ARENA_MAX: 1, _TRIM_THRESHOLD: 256 << 20, _MMAP_THRESHOLD: 32 << 20}


def keep_freed() -> None:
    """Keep what a step frees for the next one, in one place for all threads.

    Else most of it is given back at every layer, and the system clears it again: 4 % of a step of singles.
    """
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is not None:
        for option, value in OPTIONS.items():
            set_option(option, value)


def trim() -> None:
    """Give back to the system what a burst needed and nobody uses; it is kept otherwise."""
    trim_to = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim_to is not None:
        trim_to(0)
