"""RewardEngine: takes a request's items through admission, preparation and the line to their rewards."""

import asyncio
import time
from collections.abc import Awaitable, Iterator, Sequence
from typing import TypeVar

from service.batching.planner import Job, Outcome, Planner
from service.batching.runner import Runner
from service.core import DeviceMemory, Example, Item, RewardModel
from service.engine.admission import Admission, AdmissionLimits, Tenant
from service.engine.call import Call, Scored, Timing, refusal, usage_of
from service.engine.preparation import Hold, Prepared, Preparer
from service.errors import BadItem, Busy, DeadlineExceeded, ServiceError
from service.metrics import Metrics

T = TypeVar("T")


class RewardEngine:
    """Scores requests with whatever model is attached. One event loop owns it."""

    def __init__(
        self, limits: AdmissionLimits, planner: Planner, preparer: Preparer, metrics: Metrics
    ) -> None:
        self.draining = False
        self.not_ready: str | None = "the model is loading"  # the reason; None once ready
        self.admission = Admission(limits, self._backlog_s)
        self._planner = planner
        self._preparer = preparer
        self._metrics = metrics
        self._model: RewardModel | None = None
        self._runner: Runner | None = None
        self._watch()

    # Life

    def attach(self, model: RewardModel) -> None:
        """Start answering with a loaded and checked model."""
        self._model = model
        self._runner = Runner(model, self._planner, self._metrics)
        self._runner.start()
        self.not_ready = None

    def alive(self, hang_timeout_s: float) -> bool:
        """False when the model's threads died or a step hangs; never asks the device."""
        return self._runner is None or self._runner.alive(hang_timeout_s)

    def abandon(self) -> None:
        """Tell everyone still in line that the server is going; the steps under way are answered."""
        self.draining = True
        if self._runner is not None:
            self._runner.abandon()

    async def stop(self, timeout_s: float = 10.0) -> None:
        """Abandon the line and let the running step end."""
        self.abandon()
        if self._runner is not None:
            await asyncio.to_thread(self._runner.join, timeout_s)
        self._preparer.close()

    @property
    def model(self) -> RewardModel:
        """The attached model.

        Raises:
            Busy: not_ready or draining.
        """
        if self.draining:
            raise Busy("the server is shutting down", code="draining")
        if self._model is None or self.not_ready is not None:
            raise Busy(self.not_ready or "no model", code="not_ready", retry_after_s=5)
        return self._model

    def memory(self) -> DeviceMemory | None:
        return self._model.memory() if self._model else None

    # Scoring

    async def score(
        self,
        items: Sequence[Item | BadItem],
        *,
        timeout_s: float,
        fail: bool,
        tenant: Tenant | None = None,
        begun_at: float | None = None,
    ) -> Scored:
        """Score every response of every item.

        Args:
            items: an item that is already known to be bad stands as its error.
            timeout_s: deadline, counted from `begun_at`.
            fail: one bad item refuses the request, and then none is scored; else it is an outcome.
            tenant: whose quota the responses count against.
            begun_at: when the request came in, monotonic seconds; default now.

        Raises:
            ServiceError: the request as a whole is refused.
        """
        begun = time.monotonic() if begun_at is None else begun_at
        model, tenant = self.model, tenant or Tenant()
        counts = [_count_of(item) for item in items]
        call = Call(counts, begun, timeout_s)
        with self.admission.hold(sum(counts), call.deadline - time.monotonic(), tenant):
            try:
                with self.admission.hold_more() as hold:
                    return await self._score(call, model, items, fail, hold)
            except asyncio.CancelledError:
                self._metrics.responses_done("cancelled", sum(counts))
                raise
            finally:
                call.wanted = False
                self._planner.cancel(call)

    async def _score(
        self,
        call: Call,
        model: RewardModel,
        items: Sequence[Item | BadItem],
        fail: bool,
        hold: Hold,
    ) -> Scored:
        begin = time.monotonic()
        pictures = self._preparer.distinct_pictures(items)
        prepared = await _until(call.deadline, self._preparer.prepare(model, items, pictures, hold))
        if prepared is None:  # what was bad before keeps its own error
            late = DeadlineExceeded("the deadline passed before it was prepared")
            prepared = [x.error if isinstance(x, BadItem) else late for x in items]
        prepared_at = time.monotonic()
        self._metrics.prepared(prepared_at - begin, len(pictures))
        if fail:
            self._refuse([(i, e.response, e) for i, x in enumerate(prepared) for e in _refusals(x)])
        self._submit(call, prepared, prepared_at)
        await _until(call.deadline, call.wait())
        return self._answer(call, prepared, fail, prepared_at)

    def _submit(self, call: Call, prepared: Sequence[Prepared], now: float) -> None:
        jobs = []
        for i, example in enumerate(prepared):
            if isinstance(example, ServiceError):
                call.settle_item(i, example, now)
                continue
            refused = [(r, e) for r, e in example.refused.items() if isinstance(e, ServiceError)]
            if refused:
                call.settle(i, refused, now)
            waiting = [r for r in range(len(example.lengths)) if r not in example.refused]
            if waiting:
                jobs.append(Job(call, i, example, now, waiting))
        self._planner.submit(jobs)

    def _answer(
        self, call: Call, prepared: Sequence[Prepared], fail: bool, prepared_at: float
    ) -> Scored:
        outcomes = call.outcomes(DeadlineExceeded("the deadline passed before it was scored"))
        if fail:
            self._refuse(list(_errors(outcomes)))
        usage = usage_of([e for e in prepared if isinstance(e, Example)], outcomes)
        timing = _timing(call, prepared_at)
        self._metrics.waited(timing.queue)
        self._count(outcomes)
        self._metrics.tokens(usage.text_tokens, usage.image_tokens)
        warnings = [
            (i, note)
            for i, e in enumerate(prepared)
            if isinstance(e, Example)
            for note in e.warnings
        ]
        return Scored(outcomes, warnings, usage, timing)

    def _refuse(self, errors: list[tuple[int, int | None, ServiceError]]) -> None:
        if errors:
            for _, _, error in errors:
                self._metrics.responses_done(_label(error))
            raise refusal(errors)

    def _count(self, outcomes: list[list[Outcome]]) -> None:
        for outcome in (o for group in outcomes for o in group):
            if isinstance(outcome, ServiceError):
                self._metrics.responses_done(_label(outcome))
                self._metrics.rejected(outcome.code)
            else:
                self._metrics.rewarded(outcome)

    def _backlog_s(self) -> float:
        return self._runner.backlog_s() if self._runner else 0.0

    def _watch(self) -> None:
        self._metrics.watch(
            queue_depth=lambda: self._planner.queued_responses,
            oldest_queued_age_seconds=lambda: self._planner.oldest_age_s(time.monotonic()),
            running_items=lambda: self._runner.running_responses if self._runner else 0,
            backlog_seconds=self._backlog_s,
            ready=lambda: float(self.not_ready is None and not self.draining),
            draining=lambda: float(self.draining),
        )


def _count_of(item: Item | BadItem) -> int:
    return len(item.responses) if isinstance(item, Item) else item.responses


async def _until(deadline: float, work: Awaitable[T]) -> T | None:
    """The result, or None when the deadline (monotonic seconds) comes first."""
    try:
        async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
            return await work
    except TimeoutError:
        return None


def _refusals(prepared: Prepared) -> list[ServiceError]:
    """Every error that preparation found in one item."""
    if isinstance(prepared, ServiceError):
        return [prepared]
    return [e for e in prepared.refused.values() if isinstance(e, ServiceError)]


def _errors(
    outcomes: list[list[Outcome]],
) -> Iterator[tuple[int, int | None, ServiceError]]:
    for i, group in enumerate(outcomes):
        for r, outcome in enumerate(group):
            if isinstance(outcome, ServiceError):
                yield i, r, outcome


def _timing(call: Call, prepared_at: float) -> Timing:
    now = time.monotonic()
    started = call.started_at or now
    ended = call.ended_at or now
    return Timing(
        now - call.begun,
        prepared_at - call.begun,
        max(0.0, started - prepared_at),
        max(0.0, ended - started),
    )


def _label(error: ServiceError) -> str:
    if error.code == "deadline_exceeded":
        return "expired"
    return "failed" if error.status >= 500 else "rejected"  # noqa: PLR2004 - HTTP's own split
