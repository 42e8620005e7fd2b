"""Whether a request may join the line: one decision for all of it, before anything is decoded."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from service.errors import Busy, InvalidRequest


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


class Admission:
    """Counts what is held from the first body byte to the answer. Lives on the event loop."""

    def __init__(self, limits: AdmissionLimits, backlog_s: Callable[[], float]) -> None:
        self._limits = limits
        self._backlog_s = backlog_s
        self._responses = 0
        self._bytes = 0

    def hold_bytes(self, count: int) -> None:
        """Count request bytes while they stream in; give them back with a negative count.

        Raises:
            Busy: they would exceed what may wait at once.
        """
        if count > 0 and self._bytes + count > self._limits.max_queued_bytes:
            raise self._busy("too many request bytes are waiting")
        self._bytes += count

    @contextmanager
    def hold(self, responses: int, patience_s: float, tenant: Tenant) -> Iterator[None]:
        """Hold places for a request's responses until it is answered.

        Raises:
            InvalidRequest: too_many_items.
            Busy: overloaded, or quota_exceeded where the tenant's own limit is met.
        """
        self._check(responses, patience_s, tenant)
        self._count(responses, tenant)
        try:
            yield
        finally:
            self._count(-responses, tenant)

    def _check(self, responses: int, patience_s: float, tenant: Tenant) -> None:
        limits, quota = self._limits, tenant.max_queued_responses
        if responses > limits.max_responses:
            message = f"{responses} responses exceed {limits.max_responses} a request"
            raise InvalidRequest(message, code="too_many_items")
        if quota is not None and tenant.held_responses + responses > quota:
            raise self._busy(f"this key may have {quota} responses waiting", "quota_exceeded")
        if self._responses + responses > limits.max_queued_responses:
            raise self._busy("too many responses are waiting")
        if (
            self._backlog_s() > patience_s > 0
        ):  # a deadline that is past already is a 504, not a 429
            raise self._busy("the predicted wait passes the request's deadline")

    def _count(self, responses: int, tenant: Tenant) -> None:
        self._responses += responses
        tenant.held_responses += responses

    def _busy(self, message: str, code: str = "overloaded") -> Busy:
        return Busy(message, code=code, retry_after_s=min(60.0, max(1.0, self._backlog_s() / 2)))
