"""How far a long read or write is: a bar on a terminal, a line every few seconds in a log."""

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm

log = logging.getLogger(__name__)

EVERY_S = 5.0


@contextmanager
def byte_progress(what: str, total_bytes: int) -> Iterator[Callable[[int], None]]:
    """Yields a function to call with the bytes just done."""
    if sys.stderr.isatty():
        with tqdm(
            total=total_bytes, desc=what, unit="B", unit_scale=True, unit_divisor=1024
        ) as bar:
            yield lambda count: bar.update(count) and None
    else:
        yield _Logged(what, total_bytes)


class _Logged:
    def __init__(self, what: str, total_bytes: int) -> None:
        self._what = what
        self._total = max(total_bytes, 1)
        self._done = 0
        self._said_at = time.monotonic()

    def __call__(self, count: int) -> None:
        self._done += count
        if time.monotonic() - self._said_at >= EVERY_S:
            self._said_at = time.monotonic()
            percent = min(100, self._done * 100 // self._total)
            log.info(self._what, extra={"percent": percent, "bytes": self._done})
