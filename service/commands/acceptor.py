"""New connections, a few in each turn of the event loop: thousands at once must not hold it."""

import asyncio
import socket
from collections.abc import Callable
from typing import Any

from service.commands.tls import Tls

AT_ONCE = 2  # connections; taking one costs about 0.1 ms
PAUSE_S = 0.5  # when the process has no file descriptor left


class Acceptor:
    """In place of the event loop's own servers, which take every waiting connection in one turn.

    It also leaves the listener's backlog as it is; `create_server` would set it anew.
    """

    def __init__(
        self,
        listener: socket.socket,
        protocol: Callable[[], asyncio.BaseProtocol],
        tls: Tls | None = None,
    ) -> None:
        self._tls = tls
        self._listener = listener
        self._protocol = protocol
        self._loop = asyncio.get_running_loop()
        self._joining: set[asyncio.Task[Any]] = set()
        self._closed = False
        listener.setblocking(False)
        self._listen()

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._loop.remove_reader(self._listener)

    async def wait_closed(self) -> None:
        """Connections are waited for by who serves them."""

    def _listen(self) -> None:
        if not self._closed:
            self._loop.add_reader(self._listener, self._accept)

    def _accept(self) -> None:
        for _ in range(AT_ONCE):
            try:
                connection, _ = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError:
                self._loop.remove_reader(self._listener)
                self._loop.call_later(PAUSE_S, self._listen)
                return
            connection.setblocking(False)
            self._join(connection)

    def _join(self, connection: socket.socket) -> None:
        task = self._loop.create_task(self._serve(connection))
        self._joining.add(task)
        task.add_done_callback(self._joining.discard)

    async def _serve(self, connection: socket.socket) -> None:
        try:
            context = self._tls.context if self._tls else None
            await self._loop.connect_accepted_socket(self._protocol, connection, ssl=context)
        except OSError:  # gone already, or no TLS
            connection.close()
