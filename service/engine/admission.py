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


@dataclass(slots=True, eq=False)
class Tenant:
    """Who the key belongs to, what it may hold of the queue, and what it holds."""

    name: str = "default"
    weight: float = 1.0
    max_queued_responses: int | None = None
    alone: bool = True  # else it leaves as much of a limit free as it holds of it
    held_responses: int = 0
    held_bytes: int = 0
    announced_bytes: int = 0  # of bodies on their way, by their Content-Length


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks."""

    tenant: Tenant = field(default_factory=Tenant)
    run: str = ""  # its label for fair shares inside the tenant
    patient: bool = False  # waits for room until its deadline, instead of being refused


class Admission:
    """Counts what is held from the first body byte to the answer. Lives on the event loop."""

    def __init__(self, limits: AdmissionLimits, backlog_s: Callable[[Tenant], float]) -> None:
        """
        Args:
            limits: of a request, and of the queue.
            backlog_s: predicted wait of a tenant's next request, by its own backlog and its share of the device.
        """
        self._limits = limits
        self._backlog_s = backlog_s
        self._responses = 0
        self._bytes = 0
        self._given_back = asyncio.Event()
        self._lines: dict[str, asyncio.Lock] = {}
        self._closed = False

    def hold_bytes(self, count: int, tenant: Tenant) -> None:
        """Count request bytes as they come in; give them back with a negative count.

        Raises:
            Busy: they would exceed what may wait at once, or the tenant's part of it.
        """
        if count > 0:
            self._check_bytes(count, tenant)
        self._bytes += count
        tenant.held_bytes += count
        if count < 0:
            self._given_back.set()

    async def announce(self, count: int, deadline: float, tenant: Tenant) -> None:
        """Wait until a body of so many bytes has room, and keep that room from the tenant's other bodies.

        Other tenants' room is taken only by bytes that have come: whoever announces much and sends little is in
        nobody else's way. `unannounce` gives the room back.

        Raises:
            InvalidRequest: body_too_large: there never will be room.
            Busy: the deadline (monotonic seconds) came first.
        """
        if count > self._limits.max_queued_bytes:
            message = f"the body exceeds the {self._limits.max_queued_bytes} bytes that may wait"
            raise InvalidRequest(message, code="body_too_large")
        announce = partial(self._announce, count, tenant)
        await self._patiently(announce, deadline, f"bytes of {tenant.name}", tenant)

    def unannounce(self, count: int, tenant: Tenant) -> None:
        tenant.announced_bytes -= count
        self._given_back.set()

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
            await self._patiently(take, deadline, f"responses of {tenant.name}", tenant)
        else:
            take()
        try:
            yield
        finally:
            self._count(-responses, tenant)

    def foresee(self, deadline: float, tenant: Tenant) -> None:
        """Refuse what would come too late whatever it asks for: before its body is read, it costs least.

        Raises:
            Busy: overloaded.
        """
        # A deadline that is past already is a 504, not a 429.
        if self._backlog_s(tenant) > IN_HAND * (deadline - time.monotonic()) > 0:
            raise self._busy("the predicted wait passes the request's deadline", tenant)

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

    async def _patiently(
        self, take: Callable[[], None], deadline: float, line: str, tenant: Tenant
    ) -> None:
        """First come, first served: only the first of a line asks again."""
        lock = self._lines.setdefault(line, asyncio.Lock())
        if not await waited(deadline - time.monotonic(), lock.acquire()):
            raise self._busy("others wait for room, too", tenant)
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
        self.foresee(deadline, tenant)
        self._count(responses, tenant)

    def _announce(self, count: int, tenant: Tenant) -> None:
        self._check_bytes(count, tenant)
        if tenant.announced_bytes + count > self._limits.max_queued_bytes:
            raise self._busy("too many request bytes are on their way", tenant)
        tenant.announced_bytes += count

    def _check_ever(self, responses: int, tenant: Tenant) -> None:
        limits, quota = self._limits, tenant.max_queued_responses
        most = min(limits.max_responses, limits.max_queued_responses, quota or limits.max_responses)
        if responses > most:
            message = f"{responses} responses exceed {most} a request"
            raise InvalidRequest(message, code="too_many_items")

    def _check(self, responses: int, tenant: Tenant) -> None:
        limits, quota = self._limits, tenant.max_queued_responses
        if quota is not None and tenant.held_responses + responses > quota:
            message = f"this key may have {quota} responses waiting"
            raise self._busy(message, tenant, "quota_exceeded")
        room = limits.max_queued_responses - self._responses - responses
        if room < 0:
            raise self._busy("too many responses are waiting", tenant)
        if not tenant.alone and _exceeds_part(tenant.held_responses, responses, room):
            message = "this key has its part of the responses that may wait"
            raise self._busy(message, tenant, "quota_exceeded")

    def _check_bytes(self, count: int, tenant: Tenant) -> None:
        room = self._limits.max_queued_bytes - self._bytes - count
        if room < 0:
            raise self._busy("too many request bytes are waiting", tenant)
        if not tenant.alone and _exceeds_part(tenant.held_bytes, count, room):
            message = "this key has its part of the request bytes that may wait"
            raise self._busy(message, tenant, "quota_exceeded")

    def _count(self, responses: int, tenant: Tenant) -> None:
        self._responses += responses
        tenant.held_responses += responses
        if responses < 0:
            self._given_back.set()

    def _busy(self, message: str, tenant: Tenant, code: str = "overloaded") -> Busy:
        wait_s = self._backlog_s(tenant) / 2
        return Busy(message, code=code, retry_after_s=min(60.0, max(1.0, wait_s)))


def _exceeds_part(held: int, more: int, room: int) -> bool:
    """Whether a tenant that holds so much, and would hold more, leaves too little room for the others.

    It must leave as much as it then holds: one tenant takes at most half of a limit, two that fill it a third each,
    and there is always room for another. What holds nothing yet may always have its first.
    """
    return bool(held) and held + more > room
