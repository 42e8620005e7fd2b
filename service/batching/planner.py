"""The line of groups waiting for a step, and who is told what became of them."""

import itertools
import math
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from service.batching.policy import BatchLimits, take_step
from service.core import Example, Slice, Step
from service.errors import Busy, DeadlineExceeded, ServiceError

Outcome = float | ServiceError


class Ticket(Protocol):
    """The waiting caller. Called from the model's threads; every response is settled exactly once."""

    @property
    def deadline(self) -> float: ...  # on the planner's clock, seconds

    @property
    def wanted(self) -> bool:
        """False once the caller has gone; nobody has to be told then."""

    def started(self, now: float) -> None:
        """A step with some of the caller's responses starts to run."""

    def settle(self, item: int, outcomes: Sequence[tuple[int, Outcome]], now: float) -> None:
        """Outcomes of some responses of the caller's item."""


@dataclass(slots=True)
class Job:
    """One group in line: what is left of it to score, and for whom."""

    ticket: Ticket
    item: int  # which of the caller's items
    example: Example
    queued_at: float
    waiting: list[int] = field(default_factory=list)  # positions of responses not yet in a step

    def take(self, positions: Sequence[int]) -> Slice:
        taken = tuple(self.waiting[p] for p in positions)
        gone = set(positions)
        self.waiting = [r for p, r in enumerate(self.waiting) if p not in gone]
        return Slice(self.example, taken)

    @property
    def lengths(self) -> list[int]:
        return [self.example.lengths[r] for r in self.waiting]


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """A step and, slice by slice, the jobs it was taken from."""

    step: Step
    jobs: tuple[Job, ...]

    @property
    def lengths(self) -> list[int]:
        return [length for part in self.step for length in part.lengths]


class Planner:
    """First come, first served; thread-safe. The event loop submits, the stager takes."""

    def __init__(self, limits: BatchLimits, wait_s: float = 0.0) -> None:
        self._limits = limits
        self._wait_s = wait_s
        self._line: dict[int, Job] = {}
        self._keys: dict[int, list[int]] = {}  # id of a ticket → where its jobs stand
        self._soonest = math.inf  # no deadline in line is earlier
        self._ids = itertools.count()
        self._changed = threading.Condition()
        self._closed = False
        self.queued_responses = 0
        self.queued_tokens = 0

    def submit(self, jobs: Iterable[Job]) -> None:
        """Join the line.

        Raises:
            Busy: the planner is closed.
        """
        with self._changed:
            if self._closed:
                raise Busy("the server is shutting down", code="draining")
            for job in jobs:
                key = next(self._ids)
                self._line[key] = job
                self._keys.setdefault(id(job.ticket), []).append(key)
                self._soonest = min(self._soonest, job.ticket.deadline)
                self._count(job, +1)
            self._changed.notify_all()

    def cancel(self, ticket: Ticket) -> None:
        """Forget a caller and everything it still has in line; nobody is told. Every caller ends so."""
        with self._changed:
            for key in self._keys.pop(id(ticket), ()):
                if key in self._line:
                    self._drop(key)

    def oldest_age_s(self, now: float) -> float:
        with self._changed:
            first = next(iter(self._line.values()), None)
            return 0.0 if first is None else max(0.0, now - first.queued_at)

    def wait(self) -> bool:
        """Block until there is work; False once the planner is closed and its line empty."""
        with self._changed:
            self._changed.wait_for(lambda: self._line or self._closed)
            return bool(self._line)

    def wait_for_company(self, now: float) -> None:
        """The optional batching wait: let others join the oldest in line for up to `wait_s`."""
        with self._changed:
            first = next(iter(self._line.values()), None)
            if first is None or self._wait_s == 0.0:
                return
            self._changed.wait_for(
                lambda: self._closed or self.queued_tokens >= self._limits.max_tokens,
                timeout=first.queued_at + self._wait_s - now,
            )

    def take(self, now: float) -> PlannedStep | None:
        """The next step, or None if nothing in line is still wanted. Expired callers are told so."""
        with self._changed:
            dropped = self._drop_expired(now)
            planned = self._plan()
        for job in dropped:
            error = DeadlineExceeded("the deadline passed before the response was scored")
            job.ticket.settle(job.item, [(r, error) for r in job.waiting], now)
        return planned

    def close(self) -> list[Job]:
        """Take no more work, and give back what is still in line so that its callers can be told."""
        with self._changed:
            self._closed = True
            left = list(self._line.values())
            self._line.clear()
            self.queued_responses = self.queued_tokens = 0
            self._changed.notify_all()
            return left

    def _drop_expired(self, now: float) -> list[Job]:
        if now < self._soonest:
            return []
        expired = [k for k, job in self._line.items() if job.ticket.deadline <= now]
        dropped = [self._drop(key) for key in expired]
        left = (job.ticket.deadline for job in self._line.values())
        self._soonest = min(left, default=math.inf)
        return dropped

    def _plan(self) -> PlannedStep | None:
        keys = list(itertools.islice(self._line, self._limits.max_groups))
        chosen = take_step([self._line[key].lengths for key in keys], self._limits)
        parts = []
        for key, positions in zip(keys, chosen, strict=False):
            if positions:
                parts.append((self._line[key], self._take(key, positions)))
        if not parts:
            return None
        return PlannedStep(tuple(part for _, part in parts), tuple(job for job, _ in parts))

    def _take(self, key: int, positions: Sequence[int]) -> Slice:
        job = self._line[key]
        self._count(job, -1)
        part = job.take(positions)
        if job.waiting:
            self._count(job, +1)
        else:
            del self._line[key]
        return part

    def _drop(self, key: int) -> Job:
        job = self._line.pop(key)
        self._count(job, -1)
        return job

    def _count(self, job: Job, sign: int) -> None:
        self.queued_responses += sign * len(job.waiting)
        self.queued_tokens += sign * sum(job.lengths)
