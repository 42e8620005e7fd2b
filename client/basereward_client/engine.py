"""One event loop in a thread, with the connections of one client in one process; nothing of rewards."""

import asyncio
import contextlib
import os
import socket
import sys
import threading
import weakref
from collections import defaultdict, deque
from collections.abc import Coroutine, Mapping
from concurrent.futures import Future
from functools import cache
from itertools import chain
from typing import Any, TypeVar

import httpx

from basereward_client.errors import Unavailable

T = TypeVar("T")
CONNECT_S = 10.0
KEEPALIVE_S = 4.0  # below the 5 s after which the server closes an idle connection
# An answer may take long: that its host is dead is noticed by probes, within a minute.
PROBES = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
if sys.platform == "linux":
    seconds = {socket.TCP_KEEPIDLE: 30, socket.TCP_KEEPINTVL: 10, socket.TCP_KEEPCNT: 3}
    PROBES += [(socket.IPPROTO_TCP, option, value) for option, value in seconds.items()]


tls = cache(httpx.create_ssl_context)  # one for all connections: it takes 25 ms to make


_ENGINES: "weakref.WeakSet[Engine]" = weakref.WeakSet()
_CONNECTED = ("connection.connect_tcp.complete", "connection.start_tls.complete")


class Engine:
    """Of the process that made it: a forked child closes what it inherits of it, and leaves it alone."""

    def __init__(self, max_connections: int) -> None:
        self.slots = asyncio.Semaphore(max_connections)
        self.fallen: dict[str, float] = {}  # URL → when it last could not be reached
        self.log_at = float("-inf")  # no line before
        # By URL, in the order of last use; and when that was.
        self._idle: defaultdict[str, deque[tuple[float, httpx.AsyncClient]]] = defaultdict(deque)
        # Of every connection that is open: what a forked child has to close.
        self._streams: weakref.WeakSet[Any] = weakref.WeakSet()
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._stopped = False
        self._stopping = asyncio.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="basereward-client", daemon=True)
        self._thread.start()
        _ENGINES.add(self)

    def submit(self, work: Coroutine[Any, Any, T]) -> "Future[T]":
        with self._lock:  # what is submitted before the stop is answered by it
            if not self._stopped:
                return asyncio.run_coroutine_threadsafe(self._answered(work), self._loop)
        work.close()
        raise RuntimeError("the client is closed")

    async def send(
        self, url: str, path: str, fresh: bool = False, **request: Any
    ) -> httpx.Response:
        """As httpx would, a POST of what has a body; on the connection used last, if it need not be fresh."""
        idle = self._idle[url]
        while idle and self._loop.time() - idle[0][0] > KEEPALIVE_S:
            await idle.popleft()[1].aclose()
        http = self._connection() if fresh or not idle else idle.pop()[1]
        method = "POST" if {"content", "files"} & set(request) else "GET"
        try:
            response = await http.request(
                method, url + path, extensions={"trace": self._connected}, **request
            )
        except BaseException:
            await http.aclose()
            raise
        idle.append((self._loop.time(), http))
        return response

    def signal(self) -> None:
        """Ask the thread to end, and wait for nothing: safe in a finalizer, which runs in any thread, at any time."""
        if os.getpid() == self._pid:
            self._stopped = True
            with contextlib.suppress(RuntimeError):  # the loop has ended already
                self._loop.call_soon_threadsafe(self._stopping.set)

    def stop(self) -> None:
        """Every waiting caller is answered."""
        if os.getpid() != self._pid:
            return
        with self._lock:
            self.signal()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def leave(self) -> None:
        """In a forked child: let go of the connections, which else stay open for as long as the child lives.

        Their numbers stay taken: the parent's objects, copied with it, close them once more.
        """
        nothing = os.open(os.devnull, os.O_RDWR)
        for stream in list(self._streams):
            own = stream.get_extra_info("socket")
            if own is not None and own.fileno() >= 0:
                os.dup2(nothing, own.fileno(), inheritable=False)
        os.close(nothing)
        self._streams.clear()

    async def _connected(self, event: str, info: Mapping[str, Any]) -> None:
        """Httpcore's own extension: it tells of every connection that is made."""
        if event in _CONNECTED:
            self._streams.add(info["return_value"])

    @staticmethod
    def _connection() -> httpx.AsyncClient:
        """One connection: a pool takes time in the square of those it holds (httpcore 1.0)."""
        limits = httpx.Limits(max_connections=1)
        transport = httpx.AsyncHTTPTransport(tls(), limits=limits, socket_options=PROBES)
        return httpx.AsyncClient(
            transport=transport, timeout=httpx.Timeout(None, connect=CONNECT_S)
        )

    async def _answered(self, work: Coroutine[Any, Any, T]) -> T:
        try:
            return await work
        except asyncio.CancelledError:
            if self._stopping.is_set():
                raise Unavailable("the client was closed meanwhile", code="closed") from None
            raise

    def _run(self) -> None:
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        await self._stopping.wait()
        working = asyncio.all_tasks() - {asyncio.current_task()}
        for task in working:
            task.cancel()
        await asyncio.gather(*working, return_exceptions=True)
        for _, http in chain(*self._idle.values()):
            await http.aclose()


def _leave_all() -> None:
    for engine in list(_ENGINES):
        engine.leave()
    _ENGINES.clear()


if sys.platform != "win32":  # which cannot fork
    os.register_at_fork(after_in_child=_leave_all)
