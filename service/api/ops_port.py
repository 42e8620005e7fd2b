"""The second port: probes and metrics answered by a thread of their own, whatever the public port's event loop does."""

import asyncio
import logging
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus

from service.api.listener import listen
from service.api.operations import Operations, Probe

log = logging.getLogger(__name__)

BACKLOG = 1024
DEADLINE_S = 5.0  # of a connection, from its first moment to its end
MAX_HEAD_BYTES = 16 * 2**10
MAX_CONNECTIONS = 128  # at once; others wait in the backlog
OLD_S = 1.0  # a connection so old that has not asked makes room for others
PAUSE_S = 0.05  # where there is no room, or no file descriptor left
METHODS = ("GET", "HEAD")


class OpsPort:
    """One request a connection."""

    def __init__(self, operations: Operations, host: str, port: int) -> None:
        self._operations = operations
        self._address = (host, port)
        self._listener: socket.socket | None = None
        self._stopped = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, name="ops", daemon=True)
        self._started = threading.Event()
        self._scraped = threading.Event()

    def bind(self) -> socket.socket:
        """Take the port.

        Raises:
            StartError: it cannot be had.
        """
        if self._listener is None:
            self._listener = listen(*self._address, BACKLOG, "ops port ")
            self._listener.setblocking(False)
        return self._listener

    def start(self) -> None:
        port = self.bind().getsockname()[1]
        self._thread.start()
        self._started.wait()
        log.info("ops port", extra={"port": port})

    def wait_for_scrape(self, within_s: float) -> None:
        """Until the metrics are asked for once more: what ended the process would else be seen by nobody."""
        self._scraped.clear()
        self._scraped.wait(within_s)

    def stop_waiting(self) -> None:
        self._scraped.set()

    def stop(self) -> None:
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join(DEADLINE_S)
        self.bind().close()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
            self._loop = runner.get_loop()
            self._started.set()
            runner.run(self._serve())

    async def _serve(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            serving = tasks.create_task(Door(self.bind(), self._answer).serve())
            await self._stopped.wait()
            serving.cancel()

    def _answer(self, path: str) -> Probe:
        answer = self._operations.by_path(path)
        if path == "/metrics":
            self._scraped.set()
        return answer


class Door:
    """Takes connections while there is room, and answers them."""

    def __init__(self, listener: socket.socket, answer: Callable[[str], Probe]) -> None:
        self._listener = listener
        self._answer = answer
        self._since: dict[asyncio.Task[None], float] = {}  # oldest first

    async def serve(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            if not self._room(loop.time()):
                await asyncio.sleep(PAUSE_S)
                continue
            try:
                connection, _ = await loop.sock_accept(self._listener)
            except OSError:
                self._close_oldest(loop.time())
                await asyncio.sleep(PAUSE_S)
                continue
            task = loop.create_task(self._serve(connection))
            self._since[task] = loop.time()
            task.add_done_callback(self._since.pop)

    def _room(self, now: float) -> bool:
        if len(self._since) < MAX_CONNECTIONS:
            return True
        self._close_oldest(now)
        return False

    def _close_oldest(self, now: float) -> None:
        for task, since in self._since.items():
            if now - since >= OLD_S:
                task.cancel()

    async def _serve(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        loop = asyncio.get_running_loop()
        with connection, suppress(OSError, TimeoutError):
            async with asyncio.timeout(DEADLINE_S):
                head = await _head(connection)
                await loop.sock_sendall(connection, self._response(head))
                connection.shutdown(socket.SHUT_WR)

    def _response(self, head: bytes) -> bytes:
        words = head.partition(b"\n")[0].decode("latin-1").split()
        if len(words) != 3 or not words[2].startswith("HTTP/1."):  # noqa: PLR2004 - METHOD TARGET VERSION
            return _written((400, b"not valid HTTP/1.1\n", "text/plain; charset=utf-8"))
        method, target, _ = words
        if method not in METHODS:
            refusal = 405, b"GET and HEAD are answered here\n", "text/plain; charset=utf-8"
            return _written(refusal, "Allow: GET, HEAD\r\n")
        try:
            answer = self._answer(target.partition("?")[0])
        except Exception:
            log.exception("unhandled on the ops port")
            answer = 500, b"an internal error\n", "text/plain; charset=utf-8"
        return _written(answer, has_body=method != "HEAD")


async def _head(connection: socket.socket) -> bytes:
    """A request's head; empty if it is too long, or ends early."""
    loop, head = asyncio.get_running_loop(), b""
    while not (b"\r\n\r\n" in head or b"\n\n" in head):
        more = await loop.sock_recv(connection, MAX_HEAD_BYTES)
        head += more
        if not more or len(head) > MAX_HEAD_BYTES:
            return b""
    return head


def _written(answer: Probe, fields: str = "", *, has_body: bool = True) -> bytes:
    status, body, media_type = answer
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        fields += "Retry-After: 5\r\n"
    head = (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nContent-Type: {media_type}\r\n"
        f"Content-Length: {len(body)}\r\n{fields}Connection: close\r\n\r\n"
    )
    return head.encode() + (body if has_body else b"")
