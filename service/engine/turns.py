"""Turns on the event loop: thousands of requests that become ready in one moment go a few at a time."""

import asyncio
from collections import deque
from collections.abc import Callable
from functools import partial

AT_ONCE = 1  # requests in one round of the loop; each takes it for some tenths of a millisecond


class Turns:
    """No callback is long, but a round of the loop runs all that are ready, and whoever has come since waits.

    Lives on the event loop. Requests that are being finished go before those that begin.
    """

    def __init__(self, at_once: int = AT_ONCE) -> None:
        self._at_once = self._left = at_once
        self._finishing: deque[Callable[[], None]] = deque()
        self._beginning: deque[Callable[[], None]] = deque()
        self._armed = False

    async def take(self, *, finishing: bool = True) -> None:
        """Go on at once if few others do in this round, else in a later one."""
        self._arm()
        if self._left and not self._finishing and not self._beginning:
            self._left -= 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        (self._finishing if finishing else self._beginning).append(partial(_pass, turn))
        await turn

    def give(self, wake: Callable[[], None]) -> None:
        """Wake a request that is being finished, in a round in which it can go on."""
        self._finishing.append(wake)
        self._arm()

    def _arm(self) -> None:
        if not self._armed:
            self._armed = True
            asyncio.get_running_loop().call_soon(self._next_round)

    def _next_round(self) -> None:
        self._armed, self._left = False, self._at_once
        while self._left and (line := self._finishing or self._beginning):
            line.popleft()()
            self._left -= 1
        if self._left < self._at_once:
            self._arm()


def _pass(turn: asyncio.Future[None]) -> None:
    if not turn.done():  # else its request was cancelled
        turn.set_result(None)
