"""Long loops over small arrays that let other threads have the interpreter; nothing of the model is known here."""

import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")
PAUSE_S = 1e-5  # the system makes 0.06 ms of it: as long as it takes a thread to wake up
EVERY = 16


def courteous(things: Iterable[T], every: int = EVERY) -> Iterator[T]:
    """The same things, with a pause after each so many of them.

    Python makes a thread that has had its time hand over the interpreter. But one that keeps giving it up by
    itself, as numpy does for every small array, is never made to: it has it back before the one that waits is
    awake, and its time begins anew. The event loop was held so for 16 ms by 256 texts.
    """
    for count, thing in enumerate(things, 1):
        yield thing
        if count % every == 0:
            time.sleep(PAUSE_S)
