"""Who waits for rewards, for what, and what a step is made of; no order and no lock."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from service.core import Example, Slice, Step
from service.errors import ServiceError

Outcome = float | ServiceError


@dataclass(frozen=True, slots=True)
class Share:
    """Whose work it is: steps and caches are shared within a tenant, turns are taken between shares."""

    tenant: str = "default"
    run: str = ""  # the caller's own label inside the tenant
    weight: float = 1.0  # of the tenant


class Ticket(Protocol):
    """The waiting caller. Called from the model's threads; every response is settled exactly once."""

    @property
    def deadline(self) -> float: ...  # on the planner's clock, seconds

    @property
    def share(self) -> Share: ...

    @property
    def wanted(self) -> bool:
        """False once the caller has gone; nobody has to be told then."""

    def started(self, now: float) -> None:
        """A step with some of the caller's responses starts to run."""

    def settle(self, item: int, outcomes: Sequence[tuple[int, Outcome]], now: float) -> None:
        """Outcomes of some responses of the caller's item."""

    def saved(self, tokens: int) -> None:
        """So many of the caller's tokens did not have to be computed."""


@dataclass(slots=True, eq=False)
class Job:
    """Some responses of one item in line: what is left of them to score, and for whom."""

    ticket: Ticket
    item: int  # which of the caller's items
    example: Example
    queued_at: float
    waiting: list[int] = field(default_factory=list)  # the example's responses not yet in a step
    first: int = 0  # which of the item's responses the example's first one is

    def settle(self, outcomes: Iterable[tuple[int, Outcome]], now: float) -> None:
        """Tell the caller the outcomes of some of the example's responses."""
        self.ticket.settle(self.item, [(self.first + r, o) for r, o in outcomes], now)

    def take(self, count: int) -> Slice:
        """Its first so many waiting responses, no longer waiting."""
        taken = tuple(self.waiting[:count])
        del self.waiting[:count]
        return Slice(self.example, taken, self.ticket.share.tenant)


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """A step and, slice by slice, the jobs it was taken from."""

    step: Step
    jobs: tuple[Job, ...]
    tenants: frozenset[str]
    light: bool  # of tenants that have too little to wait for others' step: it goes first

    @property
    def lengths(self) -> list[int]:
        return [length for part in self.step for length in part.lengths]

    @property
    def wanted_responses(self) -> int:
        """How many have a caller that still waits."""
        parts = zip(self.jobs, self.step, strict=True)
        return sum(len(part.responses) for job, part in parts if job.ticket.wanted)
