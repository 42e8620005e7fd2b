"""HTTP connections in time: requests begin a few in each round of the event loop, and slow peers are not waited for."""

import asyncio
import fcntl
import sys
import termios
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT

from service.commands.http1 import Http1
from service.engine import Turns

LAST_REQUEST_S = 0.5  # of an idle connection when the server stops: what is on its way is answered


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a peer is waited for."""

    head_s: float  # for the whole head of a request
    answer_s: float  # without its taking any byte of its answer


class Protocol(Http1):
    """What opens a request waits for its turn, and meanwhile nothing more is read from the connection.

    `state["sent"]` waits until the answer has been taken.
    """

    def __init__(
        self, turns: Turns, patience: Patience, max_header_bytes: int, **of_uvicorn: Any
    ) -> None:
        super().__init__(max_header_bytes, **of_uvicorn)
        self._turns = turns
        self._patience = patience
        self._held = b""
        self._head_timer: asyncio.TimerHandle | None = None
        self._answer_timer: asyncio.TimerHandle | None = None
        self.idle_since = self.loop.time()

    @property
    def idle(self) -> bool:
        """No request has come that is not answered."""
        return not self._held and (self.cycle is None or self.cycle.response_complete)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        # Writing goes on when all has been taken: until then the answer is not sent.
        transport.set_write_buffer_limits(high=HIGH_WATER_LIMIT, low=0)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_is_whole()
        self._answer_is_taken()
        self._unset_keepalive_if_required()  # uvicorn's own stays after an RST, and with it all of the connection
        super().connection_lost(exc)

    def on_headers_complete(self) -> None:
        self._head_is_whole()
        self.scope["state"]["sent"] = self._sent
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        super().on_message_complete()
        if self.cycle is not None and self.cycle.response_complete:
            # Refused before its body had come: the connection is idle only now.
            self._head_is_whole()
            self._unset_keepalive_if_required()
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def data_received(self, data: bytes) -> None:
        if not self.idle and not self._held:
            super().data_received(data)  # more of a request that has begun
            return
        self._unset_keepalive_if_required()
        self._expect_head()
        self._held += data
        self.transport.pause_reading()
        self._turns.give(self._begin)

    def shutdown(self) -> None:
        """A request that has come is answered, if only with the news that the server is stopping."""
        self._begin()
        if self.idle:
            self.loop.call_later(LAST_REQUEST_S, self._shut)
        else:
            self._shut()

    def _shut(self) -> None:
        super().shutdown()
        self._watch_closing()

    def _expect_head(self) -> None:
        """A byte now and then, or none, does not keep a connection open for ever."""
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(self._patience.head_s, self._too_slow)

    def _too_slow(self) -> None:
        self._head_timer = None
        if self._held:  # it waits for its turn, and is not to blame
            self._expect_head()
        else:
            self.transport.close()
            self._watch_closing()

    def _head_is_whole(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _begin(self) -> None:
        data, self._held = self._held, b""
        if data and not self.transport.is_closing():
            self.transport.resume_reading()
            super().data_received(data)

    # Answers that nobody takes

    def on_response_complete(self) -> None:
        self.idle_since = self.loop.time()
        super().on_response_complete()
        self._watch_closing()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch_answer()

    def resume_writing(self) -> None:
        super().resume_writing()
        if not self.transport.is_closing():
            self._answer_is_taken()

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        self._watch_closing()

    async def _sent(self) -> None:
        if self.flow.write_paused:
            await self.flow.drain()

    def _watch_closing(self) -> None:
        """A connection is closed when all that was written has been taken."""
        if self.transport.is_closing():
            self._watch_answer()

    def _watch_answer(self, seen_at: float | None = None, seen_bytes: int | None = None) -> None:
        """Looked at four times within the time allowed: less than before means that it is being taken."""
        now, left_bytes = self.loop.time(), self._untaken_bytes()
        if seen_at is None or left_bytes != seen_bytes:
            seen_at = now
        elif now - seen_at >= self._patience.answer_s:
            self.transport.abort()
            return
        self._answer_is_taken()
        self._answer_timer = self.loop.call_later(
            self._patience.answer_s / 4, self._watch_answer, seen_at, left_bytes
        )

    def _untaken_bytes(self) -> int:
        """What waits here, and what the kernel holds that the peer has not acknowledged."""
        left_bytes = self.transport.get_write_buffer_size()
        connection = self.transport.get_extra_info("socket")
        with suppress(OSError):
            held = fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, bytes(4))
            left_bytes += int.from_bytes(held, sys.byteorder)
        return left_bytes

    def _answer_is_taken(self) -> None:
        if self._answer_timer is not None:
            self._answer_timer.cancel()
            self._answer_timer = None
