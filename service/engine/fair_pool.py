"""Threads for work beside the event loop, where tenants take turns, and a tenant's requests among themselves."""

import queue
import threading
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")

SMALL = 64  # a task of less than one such part of the memory never waits for memory


@dataclass(frozen=True, slots=True)
class Flow:
    """Whose work it is: tenants take turns, then the requests of each."""

    tenant: str
    request: Hashable


@dataclass(frozen=True, slots=True, eq=False)
class _Task:
    future: Future[Any]
    work: Callable[[], Any]
    num_bytes: int

    def run(self) -> None:
        if not self.future.set_running_or_notify_cancel():
            return
        try:
            result = self.work()
        except BaseException as error:  # noqa: BLE001 - whoever waits for it is told
            self.future.set_exception(error)
            del self  # which the error holds, as it holds this frame, until a garbage collection
        else:
            self.future.set_result(result)


class _Requests:
    """One tenant's tasks, a request after the other."""

    def __init__(self) -> None:
        self._tasks: OrderedDict[Hashable, deque[_Task]] = OrderedDict()

    def __bool__(self) -> bool:
        return bool(self._tasks)

    def add(self, request: Hashable, task: _Task) -> None:
        self._tasks.setdefault(request, deque()).append(task)

    def take(self, fits: Callable[[_Task], bool]) -> _Task | None:
        """The next request's next task that fits; the request goes behind the others."""
        for request in list(self._tasks):
            tasks = self._tasks[request]
            while tasks and tasks[0].future.cancelled():
                tasks.popleft()
            if not tasks:
                del self._tasks[request]
            elif fits(tasks[0]):
                task = tasks.popleft()
                self._tasks.move_to_end(request)
                if not tasks:
                    del self._tasks[request]
                return task
        return None


class FairPool:
    """`threads` for each tenant, and one more: whatever one tenant asks for, another finds a thread.

    The threads are daemons: a task that does not end keeps no process alive.
    """

    def __init__(self, threads: int, name: str, max_bytes: int = 2**63) -> None:
        """
        Args:
            threads: that one tenant can have busy at once.
            name: of the threads.
            max_bytes: of memory that running tasks take together, by what they state; one larger runs alone.
        """
        self._most = threads
        self._max_bytes = max_bytes
        self._name = name
        self._lock = threading.Lock()
        self._wake: queue.SimpleQueue[None] = queue.SimpleQueue()  # one for each task that came
        self._tenants: OrderedDict[str, _Requests] = OrderedDict()
        self._running: Counter[str] = Counter()
        self._bytes = 0
        self._large_waits = False
        self._closed = False
        self._threads: list[threading.Thread] = []

    def submit(self, flow: Flow, work: Callable[[], T], num_bytes: int = 0) -> "Future[T]":
        """Run it when its turn comes; a future that is cancelled before is not run.

        Args:
            flow: whose it is.
            work: what to do.
            num_bytes: memory that it takes while it runs.
        """
        future: Future[T] = Future()
        with self._lock:
            if self._closed:
                future.cancel()
                return future
            self._start()
            requests = self._tenants.setdefault(flow.tenant, _Requests())
            requests.add(flow.request, _Task(future, work, num_bytes))
        self._wake.put(None)  # not a condition: its waiter would wake to a lock that is still held
        return future

    def close(self) -> None:
        """Start nothing more; what waits is cancelled."""
        with self._lock:
            self._closed = True
            waiting, self._tenants = self._tenants, OrderedDict()
        for _ in self._threads:
            self._wake.put(None)
        for requests in waiting.values():
            while task := requests.take(lambda _: True):
                task.future.cancel()

    def _start(self) -> None:
        while len(self._threads) <= self._most:
            name = f"{self._name}_{len(self._threads)}"
            thread = threading.Thread(target=self._work, name=name, daemon=True)
            self._threads.append(thread)
            thread.start()

    def _work(self) -> None:
        while not self._closed:
            self._wake.get()
            # Whatever a task that ends makes room for, its own thread takes next.
            while (taken := self._next()) is not None:
                tenant, task = taken
                try:
                    task.run()
                finally:
                    self._ended(tenant, task)
                del taken, task  # an idle thread keeps nobody's work

    def _next(self) -> tuple[str, _Task] | None:
        with self._lock:
            taken = self._take()
            if taken is not None:
                tenant, task = taken
                self._running[tenant] += 1
                self._bytes += task.num_bytes
            return taken

    def _take(self) -> tuple[str, _Task] | None:
        self._large_waits = False
        for tenant in list(self._tenants):
            requests = self._tenants[tenant]
            if self._running[tenant] < self._most and (task := requests.take(self._fits)):
                self._tenants.move_to_end(tenant)
                if not requests:
                    del self._tenants[tenant]
                return tenant, task
            if not requests:
                del self._tenants[tenant]
        return None

    def _fits(self, task: _Task) -> bool:
        """While a large task waits for memory, only small ones pass it."""
        if task.num_bytes * SMALL <= self._max_bytes:
            return True
        room = self._bytes + task.num_bytes <= self._max_bytes or not self._bytes
        fits = room and not self._large_waits
        self._large_waits |= not room
        return fits

    def _ended(self, tenant: str, task: _Task) -> None:
        with self._lock:
            self._running[tenant] -= 1
            if not self._running[tenant]:
                del self._running[tenant]
            self._bytes -= task.num_bytes
        if task.num_bytes:  # its memory may do for several
            self._wake.put(None)
