"""RewardEngine: takes a request's items through admission, preparation and the line to their rewards."""

import asyncio
import time
from collections.abc import Sequence

from service.batching.planner import Planner, Share
from service.batching.runner import Runner
from service.core import DeviceMemory, Item, RewardModel
from service.engine.admission import Admission, AdmissionLimits, Caller
from service.engine.call import Call, Scored
from service.engine.preparation import Preparer
from service.engine.scoring import Scoring
from service.engine.waiting import waited
from service.errors import BadItem, Busy
from service.metrics import Metrics


class RewardEngine:
    """Scores requests with whatever model is attached. One event loop owns it."""

    def __init__(
        self, limits: AdmissionLimits, planner: Planner, preparer: Preparer, metrics: Metrics
    ) -> None:
        self.draining = False
        self.not_ready: str | None = "the model is loading"  # the reason; None once ready
        self._settled = asyncio.Event()  # ready, or not going to be
        self.admission = Admission(limits, self._backlog_s)
        self._planner = planner
        self._preparer = preparer
        self.turns = preparer.turns
        self._metrics = metrics
        self._model: RewardModel | None = None
        self._runner: Runner | None = None
        self._watch()

    # Life

    def attach(self, model: RewardModel, step_tokens: int | None = None) -> None:
        """Start answering with a loaded and checked model, in steps of so many tokens."""
        self._planner.allow_tokens(step_tokens or model.info.step_tokens)
        self._model = model
        self._runner = Runner(model, self._planner, self._metrics)
        self._runner.start()
        self.not_ready = None
        self._settled.set()

    def refuse(self, reason: str) -> None:
        """The model is not going to be ready, and why."""
        self.not_ready = reason
        self._settled.set()

    def stop_waiting(self) -> None:
        """Whoever waits for the model to load need not any more."""
        self._settled.set()

    async def until_ready(self, deadline: float) -> None:
        """Wait while the model is loading, until the deadline (monotonic seconds) at the longest."""
        if self.not_ready is not None:
            await waited(deadline - time.monotonic(), self._settled.wait())

    def alive(self, hang_timeout_s: float) -> bool:
        """False when the model's threads died or a step hangs; never asks the device."""
        return self._runner is None or self._runner.alive(hang_timeout_s)

    def abandon(self) -> None:
        """Tell everyone still in line that the server is going; the steps under way are answered."""
        self.draining = True
        self._settled.set()
        self.admission.close()
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
        caller: Caller | None = None,
        begun_at: float | None = None,
    ) -> Scored:
        """Score every response of every item.

        Args:
            items: an item that is already known to be bad stands as its error.
            timeout_s: deadline, counted from `begun_at`.
            fail: one bad item refuses the request, and then none is scored; else it is an outcome.
            caller: whose quota the responses count against, and whose caches they use.
            begun_at: when the request came in, monotonic seconds; default now.

        Raises:
            ServiceError: the request as a whole is refused.
        """
        begun = time.monotonic() if begun_at is None else begun_at
        caller = caller or Caller()
        counts = [_count_of(item) for item in items]
        share = Share(caller.tenant.name, caller.run, caller.tenant.weight)
        while True:
            call = Call(counts, begun, timeout_s, share, self.turns)
            try:
                return await self._score(call, items, fail, caller)
            except Busy as busy:  # there was no room for its pictures
                if not (caller.patient and fail) or busy.code != "overloaded":
                    raise
                if not await self.admission.freed(call.deadline):
                    raise

    async def _score(
        self, call: Call, items: Sequence[Item | BadItem], fail: bool, caller: Caller
    ) -> Scored:
        model, responses = self.model, call.responses
        async with self.admission.hold(responses, call.deadline, caller):
            lease = self._preparer.lease(self.admission.hold_bytes)
            try:
                plan = await self._preparer.plan(items)
                scoring = Scoring(call, fail, self._planner, self._metrics)
                return await scoring.run(self._preparer, model, plan, lease)
            except asyncio.CancelledError:
                self._metrics.responses_done("cancelled", responses)
                raise
            finally:
                lease.close()
                call.wanted = False
                if not call.settled:  # else nothing of it is in line
                    self._planner.cancel(call)

    def _backlog_s(self) -> float:
        return self._runner.backlog_s() if self._runner else 0.0

    def _watch(self) -> None:
        self._metrics.watch(
            queue_depth=lambda: self._planner.queued_responses,
            oldest_queued_age_seconds=lambda: self._planner.oldest_age_s(time.monotonic()),
            running_items=lambda: self._runner.running_responses if self._runner else 0,
            backlog_seconds=self._backlog_s,
            picture_cache_bytes=lambda: self._preparer.cache.num_bytes,
            ready=lambda: float(self.not_ready is None and not self.draining),
            draining=lambda: float(self.draining),
        )


def _count_of(item: Item | BadItem) -> int:
    return len(item.responses) if isinstance(item, Item) else item.responses
