"""HTTP connections whose requests begin a few in each round of the event loop: thousands can send in one moment."""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from service.engine import Turns


class Protocol(HttpToolsProtocol):
    """uvicorn's. What opens a request waits for its turn, and meanwhile nothing more is read from the connection."""

    def __init__(self, turns: Turns, head_timeout_s: float, **of_uvicorn: Any) -> None:
        super().__init__(**of_uvicorn)
        self._turns = turns
        self._held = b""
        self._head_timeout_s = head_timeout_s
        self._head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_is_whole()
        self._unset_keepalive_if_required()  # uvicorn's own stays after an RST, and with it all of the connection
        super().connection_lost(exc)

    def on_headers_complete(self) -> None:
        self._head_is_whole()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        super().on_message_complete()
        if self.cycle.response_complete:
            # Refused before its body had come: the connection is idle only now.
            self._head_is_whole()
            self._unset_keepalive_if_required()
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def data_received(self, data: bytes) -> None:
        if self.cycle is not None and not self.cycle.response_complete:
            super().data_received(data)  # more of a request that has begun
            return
        self._unset_keepalive_if_required()
        self._expect_head()
        self._held = data
        self.transport.pause_reading()
        self._turns.give(self._begin)

    def shutdown(self) -> None:
        """A request that has come is answered, if only with the news that the server is stopping."""
        self._begin()
        super().shutdown()

    def _expect_head(self) -> None:
        """A byte now and then, or none, does not keep a connection open for ever."""
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(self._head_timeout_s, self._too_slow)

    def _too_slow(self) -> None:
        self._head_timer = None
        if self._held:  # it waits for its turn, and is not to blame
            self._expect_head()
        else:
            self.transport.close()

    def _head_is_whole(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _begin(self) -> None:
        data, self._held = self._held, b""
        if data and not self.transport.is_closing():
            self.transport.resume_reading()
            super().data_received(data)
