"""`basereward serve` that collects no reference cycle by itself: a line on stdin has it log those that it has made.

The server collects only when it is idle, so whatever a cycle holds (a request's body, its texts, its pictures) stays
for as long as requests keep coming. Told are the cycles with an object, frame or coroutine of the project in them,
and every large text that a cycle holds.
"""

import gc
import logging
import sys
import threading
from collections.abc import Iterator
from typing import Any
from unittest import mock

import networkx

from service.commands import serve

SAID = "cycles"
LARGE = 10_000


def obey() -> None:
    for _ in sys.stdin:
        found = sorted(set(_found()))
        gc.collect()  # told once
        logging.getLogger(__name__).info(SAID, extra={"found": found})


def _found() -> Iterator[str]:
    """Among what only the collector frees: large texts, and the cycles, each by the names of its members."""
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        gc.collect()
        found = {id(one): one for one in gc.garbage}
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
    for one in found.values():
        for held in gc.get_referents(one):
            if isinstance(held, (str, bytes, bytearray)) and len(held) > LARGE:
                yield f"{type(held).__name__} of {len(held)} in {type(one).__qualname__}"
    for cycle in _cycles(found):
        names = sorted({name for one in cycle if (name := _name(one))})
        if names:
            yield " <-> ".join(names)


def _cycles(objects: dict[int, Any]) -> Iterator[list[Any]]:
    others = {at: gc.get_referents(one) for at, one in objects.items()}
    arrows = networkx.DiGraph((at, id(o)) for at in objects for o in others[at] if id(o) in objects)
    for together in networkx.strongly_connected_components(arrows):
        if len(together) > 1:
            yield [objects[at] for at in together]


def _name(one: Any) -> str | None:
    """Of what is the project's."""
    code = getattr(one, "f_code", None) or getattr(one, "cr_code", None)
    if code is not None:
        return code.co_qualname if "/service/" in code.co_filename else None
    kind = type(one)
    return kind.__qualname__ if kind.__module__.startswith("service.") else None


if __name__ == "__main__":
    from service.__main__ import main

    threading.Thread(target=obey, daemon=True).start()
    with mock.patch.multiple(serve, GC_THRESHOLDS=(0, 0, 0), IDLE_TICKS=2**63):
        sys.exit(main())
