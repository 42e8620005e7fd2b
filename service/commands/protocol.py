"""HTTP connections whose requests begin a few in each round of the event loop: thousands can send in one moment."""

from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from service.engine import Turns


class Protocol(HttpToolsProtocol):
    """uvicorn's. What opens a request waits for its turn, and meanwhile nothing more is read from the connection."""

    def __init__(self, turns: Turns, **of_uvicorn: Any) -> None:
        super().__init__(**of_uvicorn)
        self._turns = turns
        self._held = b""

    def data_received(self, data: bytes) -> None:
        if self.cycle is not None and not self.cycle.response_complete:
            super().data_received(data)  # more of a request that has begun
            return
        self._unset_keepalive_if_required()
        self._held = data
        self.transport.pause_reading()
        self._turns.give(self._begin)

    def shutdown(self) -> None:
        """A request that has come is answered, if only with the news that the server is stopping."""
        self._begin()
        super().shutdown()

    def _begin(self) -> None:
        data, self._held = self._held, b""
        if data and not self.transport.is_closing():
            self.transport.resume_reading()
            super().data_received(data)
