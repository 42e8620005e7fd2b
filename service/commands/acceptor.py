"""New connections, a few in each turn of the event loop: thousands at once must not hold it."""

import asyncio
import resource
import socket
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import Any

from service.commands.protocol import Protocol
from service.commands.tls import Tls

AT_ONCE = 2  # connections; taking one costs about 0.1 ms
FULL_S = 0.05  # between two looks whether there is room again
NO_FILES_S = 0.5  # the same, when the process has no file descriptor left
RESERVED_FILES = (
    256  # for all but the public port's connections; never more than half of what there is
)
CLOSED_AT_ONCE = 16  # idle connections, to make room
IDLE_S = 1.0  # least time: whoever has just connected is about to send


class Acceptor:
    """In place of the event loop's own servers, which take every waiting connection in one turn.

    It also leaves the listener's backlog as it is; `create_server` would set it anew.
    """

    def __init__(
        self,
        listener: socket.socket,
        protocol: Callable[[], Protocol],
        connections: Collection[Any],
        max_connections: int,
        tls: Tls | None = None,
    ) -> None:
        self._tls = tls
        self._listener = listener
        self._protocol = protocol
        self._connections = connections
        self._max_connections = max_connections
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

    def _pause(self, seconds: float) -> None:
        """The kernel holds who connects meanwhile, instead of waking the loop without end."""
        self._loop.remove_reader(self._listener)
        self._loop.call_later(seconds, self._listen)

    def _accept(self) -> None:
        for _ in range(AT_ONCE):
            if len(self._connections) + len(self._joining) >= self._max_connections:
                self._close_idle()
                self._pause(FULL_S)
                return
            try:
                connection, _ = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError:
                self._pause(NO_FILES_S)
                return
            connection.setblocking(False)
            self._join(connection)

    def _close_idle(self) -> None:
        """Those that have idled longest make room."""
        until = self._loop.time() - IDLE_S
        idle = [c for c in self._connections if c.idle and c.idle_since <= until]
        for connection in sorted(idle, key=lambda c: c.idle_since)[:CLOSED_AT_ONCE]:
            connection.transport.abort()

    def _join(self, connection: socket.socket) -> None:
        task = self._loop.create_task(self._serve(connection))
        self._joining.add(task)
        task.add_done_callback(self._joining.discard)

    async def _serve(self, connection: socket.socket) -> None:
        tls = self._tls
        try:
            await self._loop.connect_accepted_socket(
                self._protocol,
                connection,
                ssl=tls.context if tls else None,
                ssl_handshake_timeout=tls.handshake_s if tls else None,
            )
        except OSError:  # gone already, or no TLS
            connection.close()


def allow_files() -> int:
    """Raise the process's limit of open files as far as it goes: the connections that this allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    if soft == resource.RLIM_INFINITY:
        soft = 2**20
    return soft - min(RESERVED_FILES, soft // 2)
