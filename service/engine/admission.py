"""Whether a request may join the line: one decision for all of it, before anything is decoded."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

from service.engine.waiting import waited
from service.errors import Busy, InvalidRequest

IN_HAND = 0.8  # of the time that is left: the request has a step of its own to wait for, and a prediction may err
LOOK_AGAIN_S = 1.0  # a predicted wait shrinks without anything being given back


@dataclass(frozen=True, slots=True)
class AdmissionLimits:
    max_responses: int  # of one request
    max_queued_responses: int
    max_queued_bytes: int


@dataclass(slots=True)
class Tenant:
    """Who the key belongs to, what it may hold of the line, and what it holds."""

    name: str = "default"
    weight: float = 1.0
    max_queued_responses: int | None = None
    held_responses: int = 0


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks."""

    tenant: Tenant = field(default_factory=Tenant)
    run: str = ""  # its label for fair shares inside the tenant
    patient: bool = False  # waits for room until its deadline, instead of being refused


class Admission:
    """Counts what is held from the first body byte to the answer. Lives on the event loop."""

    def __init__(self, limits: AdmissionLimits, backlog_s: Callable[[], float]) -> None:
        self._limits = limits
        self._backlog_s = backlog_s
        self._responses = 0
        self._bytes = 0
        self._given_back = asyncio.Event()
        self._lines: dict[str, asyncio.Lock] = {}
        self._closed = False

    def hold_bytes(self, count: int) -> None:
        """Count request bytes while they stream in; give them back with a negative count.

        Raises:
            Busy: they would exceed what may wait at once.
        """
        if count > 0 and self._bytes + count > self._limits.max_queued_bytes:
            raise self._busy("too many request bytes are waiting")
        self._bytes += count
        if count < 0:
            self._given_back.set()

    async def wait_for_bytes(self, count: int, deadline: float) -> None:
        """Count them as soon as there is room for all of them.

        Raises:
            InvalidRequest: body_too_large: there never will be.
            Busy: the deadline (monotonic seconds) came first.
        """
        if count > self._limits.max_queued_bytes:
            message = f"the body exceeds the {self._limits.max_queued_bytes} bytes that may wait"
            raise InvalidRequest(message, code="body_too_large")
        await self._patiently(partial(self.hold_bytes, count), deadline, "bytes")

    @asynccontextmanager
    async def hold(self, responses: int, deadline: float, caller: Caller) -> AsyncIterator[None]:
        """Hold places for a request's responses until it is answered.

        Args:
            responses: of the request.
            deadline: of the request, monotonic seconds.
            caller: who asks; a patient one waits until the deadline, each tenant's requests in their order.

        Raises:
            InvalidRequest: too_many_items: there never will be room for them.
            Busy: overloaded, or quota_exceeded where the tenant's own limit is met.
        """
        tenant = caller.tenant
        self._check_ever(responses, tenant)
        take = partial(self._take, responses, deadline, tenant)
        if caller.patient:
            await self._patiently(take, deadline, f"responses of {tenant.name}")
        else:
            take()
        try:
            yield
        finally:
            self._count(-responses, tenant)

    def foresee(self, deadline: float) -> None:
        """Refuse what would come too late whatever it asks for: before its body is read, it costs least.

        Raises:
            Busy: overloaded.
        """
        # A deadline that is past already is a 504, not a 429.
        if self._backlog_s() > IN_HAND * (deadline - time.monotonic()) > 0:
            raise self._busy("the predicted wait passes the request's deadline")

    def close(self) -> None:
        """Whoever waits for room is told that the server is going."""
        self._closed = True
        self._given_back.set()

    async def freed(self, deadline: float) -> bool:
        """Wait until something is given back, or may have changed; False: the deadline has come.

        Raises:
            Busy: the server is going.
        """
        left_s = deadline - time.monotonic()
        if left_s > 0 and not self._closed:
            self._given_back.clear()
            await waited(min(left_s, LOOK_AGAIN_S), self._given_back.wait())
        if self._closed:
            raise Busy("the server is shutting down", code="draining")
        return left_s > 0

    async def _patiently(self, take: Callable[[], None], deadline: float, line: str) -> None:
        """First come, first served: only the first of a line asks again."""
        lock = self._lines.setdefault(line, asyncio.Lock())
        if not await waited(deadline - time.monotonic(), lock.acquire()):
            raise self._busy("others wait for room, too")
        try:
            while True:
                try:
                    return take()
                except Busy:
                    if not await self.freed(deadline):
                        raise
        finally:
            lock.release()

    def _take(self, responses: int, deadline: float, tenant: Tenant) -> None:
        self._check(responses, tenant)
        self.foresee(deadline)
        self._count(responses, tenant)

    def _check_ever(self, responses: int, tenant: Tenant) -> None:
        limits, quota = self._limits, tenant.max_queued_responses
        most = min(limits.max_responses, limits.max_queued_responses, quota or limits.max_responses)
        if responses > most:
            message = f"{responses} responses exceed {most} a request"
            raise InvalidRequest(message, code="too_many_items")

    def _check(self, responses: int, tenant: Tenant) -> None:
        limits, quota = self._limits, tenant.max_queued_responses
        if quota is not None and tenant.held_responses + responses > quota:
            raise self._busy(f"this key may have {quota} responses waiting", "quota_exceeded")
        if self._responses + responses > limits.max_queued_responses:
            raise self._busy("too many responses are waiting")

    def _count(self, responses: int, tenant: Tenant) -> None:
        self._responses += responses
        tenant.held_responses += responses
        if responses < 0:
            self._given_back.set()

    def _busy(self, message: str, code: str = "overloaded") -> Busy:
        return Busy(message, code=code, retry_after_s=min(60.0, max(1.0, self._backlog_s() / 2)))
