"""The end of one outgoing connection at a deadline, whatever its other side is doing."""

import contextlib
import os
import socket
import threading
import time
from types import TracebackType
from typing import Any, Self


class Cutoff:
    """Ends a fetch's connection at its deadline, whatever the host is doing: timeouts of single reads let a host
    that sends a byte now and then go on for ever, in its head as in its body.
    """

    def __init__(self, deadline: float) -> None:
        self._timer = threading.Timer(max(0.0, deadline - time.monotonic()), self._cut)
        self._timer.daemon = True
        self._lock = threading.Lock()
        self._connection: socket.socket | None = None
        self._passed = False

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._timer.cancel()
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def trace(self, event: str, info: dict[str, Any]) -> None:
        """Httpcore's own extension: it tells of the connection before TLS begins."""
        if event == "connection.connect_tcp.complete":
            own = info["return_value"].get_extra_info("socket")
            with self._lock:
                # A duplicate: TLS takes the first one's place, and it is the same connection.
                self._connection = socket.socket(fileno=os.dup(own.fileno()))
            if self._passed:
                self._cut()

    def _cut(self) -> None:
        self._passed = True
        with self._lock:
            if self._connection is not None:
                with contextlib.suppress(OSError):  # it has ended
                    self._connection.shutdown(socket.SHUT_RDWR)
