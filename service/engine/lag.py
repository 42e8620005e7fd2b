"""How late the event loop wakes whoever waits for it: the sign that something holds it."""

import asyncio
import time
from collections.abc import Callable

INTERVAL_S = 0.05  # each time a thread of the running step has to stop, and the others wait for it


async def measure_lag(observe: Callable[[float], None]) -> None:
    """Sleep, see how much later than asked it was, and tell; until cancelled."""
    while True:
        due = time.monotonic() + INTERVAL_S
        await asyncio.sleep(INTERVAL_S)
        observe(max(0.0, time.monotonic() - due))
