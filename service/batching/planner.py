"""The line as two threads see it: the event loop submits, the stager takes; the order is `Line`'s and the policy's."""

import math
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from service.batching.budget import Budget
from service.batching.cost import CostModel
from service.batching.line import Line
from service.batching.policy import BatchLimits, hesitate_s
from service.batching.staged import Staged
from service.batching.ticket import Job, Outcome, PlannedStep, Share, Ticket
from service.core import Work
from service.errors import Busy, DeadlineExceeded

__all__ = ["Job", "Outcome", "PlannedStep", "Planner", "Share", "Ticket"]


class Planner:
    """Thread-safe. Every job that comes in leaves by a step, by its deadline, by `cancel` or by `close`."""

    def __init__(self, limits: BatchLimits, wait_s: float = 0.0) -> None:
        self._limits = limits
        self._budget = Budget.of(limits.max_tokens)
        self._wait_s = wait_s
        self._line = Line(self.predict_s)
        lock = threading.RLock()
        self._changed, self._room = threading.Condition(lock), threading.Condition(lock)
        self._ahead: Staged | None = None  # that the stager waits behind
        self._closed = False
        self._coming = 0  # requests being prepared
        self._cost = CostModel()

    def allow_tokens(self, tokens: int) -> None:
        """Set the budget of the steps to come."""
        self._spend(Budget.of(tokens))

    def out_of_memory(self, step_tokens: int) -> int:
        """A step of so many tokens did not fit; the budget of the steps to come."""
        self._spend(self._budget.after_out_of_memory(step_tokens))
        return self._budget.tokens

    @property
    def budget_tokens(self) -> int:
        return self._budget.tokens

    def _spend(self, budget: Budget) -> None:
        self._budget = budget
        self._limits = replace(self._limits, max_tokens=budget.tokens, most_tokens=budget.most)

    def submit(self, jobs: Iterable[Job]) -> None:
        """Join the line.

        Raises:
            Busy: the planner is closed.
        """
        with self._changed:
            if self._closed:
                raise Busy("the server is shutting down", code="draining")
            self._line.add(jobs)
            self._changed.notify_all()
            if self._ahead is not None and self._goes_before(self._ahead):
                self._room.notify()

    @contextmanager
    def expecting(self) -> Iterator[None]:
        """A request is being prepared, and joins the line in a moment."""
        with self._changed:
            self._coming += 1
        try:
            yield
        finally:
            with self._changed:
                self._coming -= 1
                if self._coming == 0:
                    self._changed.notify_all()

    def wait_for_arrivals(self) -> None:
        """An idle model's short wait for whoever is being prepared and may be a sibling."""
        with self._changed:
            if self._coming and self._line.tally.tokens < self._limits.max_tokens:
                self._changed.wait_for(
                    lambda: (
                        self._closed
                        or not self._coming
                        or self._line.tally.tokens >= self._limits.max_tokens
                    ),
                    timeout=hesitate_s(self.predict_s(self.queued_work)),
                )

    def cancel(self, ticket: Ticket) -> None:
        """Forget a caller and everything it still has in line; nobody is told. Every caller ends so."""
        with self._changed:
            self._line.remove(ticket)

    def wait(self) -> bool:
        """Block until there is work; False once the planner is closed and its line empty."""
        with self._changed:
            self._changed.wait_for(lambda: self._line.responses or self._closed)
            return self._line.responses > 0

    def wait_for_company(self, now: float) -> None:
        """The optional batching wait: let others join the oldest in line for up to `wait_s`."""
        with self._changed:
            first = self._line.oldest_queued_at()
            if first is None or self._wait_s == 0.0:
                return
            self._changed.wait_for(
                lambda: self._closed or self._line.tally.tokens >= self._limits.max_tokens,
                timeout=first + self._wait_s - now,
            )

    def wait_for_room(self, in_front: Callable[[], Staged | None]) -> bool:
        """Block until no step is staged, or somebody comes who goes before the one that is: True, or False."""
        with self._changed:
            while (ahead := in_front()) is not None:
                if self._goes_before(ahead):
                    return False
                self._ahead = ahead
                self._room.wait()
                self._ahead = None
            return True

    def _goes_before(self, ahead: Staged) -> bool:
        light = self._line.light_beside(ahead.planned, ahead.predicted_s)
        return bool(light) and not ahead.overtaken

    def room_made(self) -> None:
        """A staged step runs."""
        with self._changed:
            self._room.notify()

    def take(self, now: float, ahead: Staged | None = None) -> PlannedStep | None:
        """The next step, or None if nothing in line is still wanted. Expired callers are told so.

        Args:
            now: on the clock of the deadlines.
            ahead: that is staged: what goes before it.
        """
        with self._changed:
            expired = self._line.expire(now)
            if ahead is None:
                planned = self._line.take(self._limits)
            else:
                planned = self._line.take_before(ahead.planned, ahead.predicted_s, self._limits)
        for job in expired:
            error = DeadlineExceeded("the deadline passed before the response was scored")
            job.settle(((r, error) for r in job.waiting), now)
        return planned

    def close(self) -> list[Job]:
        """Take no more work, and give back what is still in line so that its callers can be told."""
        with self._changed:
            self._closed = True
            left = self._line.clear()
            self._changed.notify_all()
            return left

    # What it will take

    @property
    def queued_responses(self) -> int:
        return self._line.responses

    @property
    def queued_work(self) -> Work:
        """What waits, each context once a group."""
        return self._line.tally.work

    def oldest_age_s(self, now: float) -> float:
        with self._changed:
            first = self._line.oldest_queued_at()
            return 0.0 if first is None else max(0.0, now - first)

    def learn(self, work: Work, seconds: float) -> None:
        """A step of this work took so long."""
        self._cost = self._cost.after(work, seconds)
        self._spend(self._budget.after_success())

    def predict_s(self, work: Work) -> float:
        """Seconds of one step; 0.0 until one has run."""
        return self._cost.predict_s(work)

    def backlog_s(self) -> float:
        """Predicted time of everything in line."""
        return self._time_s(self.queued_work, self.queued_responses)

    def wait_s(self, tenant: str, weight: float) -> float:
        """Predicted time until what a tenant has in line is scored, and with it whatever it adds next.

        While all who wait have work, a tenant gets its weight's share of the device, so that its own work takes so
        much longer; it never takes longer than everything together.
        """
        with self._changed:
            own, weights = self._line.of_tenant(tenant)
        others = weights - (own.weight if own else 0.0)
        alone_s = self._time_s(own.tally.work, own.responses) if own else 0.0
        return min(self.backlog_s(), alone_s * (others + weight) / weight)

    def _time_s(self, work: Work, responses: int) -> float:
        by_tokens = math.ceil(work.tokens / self._limits.max_tokens)
        by_responses = math.ceil(responses / self._limits.max_responses)
        return self._cost.predict_s(work, max(by_tokens, by_responses))
