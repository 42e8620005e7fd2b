"""RewardEngine: takes a request's items through admission, preparation and the line to their rewards."""

import asyncio
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

from service.batching.planner import Planner, Share
from service.batching.runner import Runner
from service.core import DeviceMemory, Item, RewardModel
from service.engine.admission import Admission, AdmissionLimits, Caller, Tenant
from service.engine.call import Call, Scored
from service.engine.fair_pool import Flow
from service.engine.health import Health, HealthLimits
from service.engine.preparation import Preparer
from service.engine.scoring import Scoring
from service.engine.signs import RunSigns
from service.errors import BadItem, Busy
from service.metrics import Metrics

T = TypeVar("T")


class RewardEngine:
    """Scores requests with whatever model is attached. One event loop owns it."""

    def __init__(
        self,
        limits: AdmissionLimits,
        planner: Planner,
        preparer: Preparer,
        metrics: Metrics,
        *,
        health: HealthLimits = HealthLimits(),  # noqa: B008 - frozen
        max_runs: int = 64,
    ) -> None:
        self.health = Health(health)
        self.admission = Admission(limits, self._wait_s)
        # The device; called from the model's thread.
        self.on_lost: Callable[[], None] = lambda: None
        self._planner = planner
        self._preparer = preparer
        self.turns = preparer.turns
        self._metrics = metrics
        self._signs = RunSigns(metrics, max_runs)
        self._attached: RewardModel | None = None
        self._runner: Runner | None = None
        self._watch()

    # Life

    def attach(self, model: RewardModel, step_tokens: int | None = None) -> None:
        """Start answering with a loaded and checked model, in steps of so many tokens."""
        self._planner.allow_tokens(step_tokens or model.info.step_tokens)
        lost = lambda: self.on_lost()  # noqa: E731 - it may be set later
        self._attached = model
        self._runner = Runner(model, self._planner, self._metrics, on_lost=lost)
        self._runner.start()
        self.health.attach(model, self._runner)

    async def check(self) -> float:
        """Have the model thread reproduce the golden scores between two steps: the largest difference.

        Raises:
            GoldenMismatch, or whatever the model raises.
        """
        assert self._runner is not None
        assert self._attached is not None
        worst = await asyncio.wrap_future(self._runner.between_steps(self._attached.check))
        self._runner.failed_in_a_row = 0
        return worst

    def abandon(self) -> None:
        """Tell everyone still in line that the server is going; the steps under way are answered."""
        self.health.draining = True
        self.health.stop_waiting()
        self.admission.close()
        if self._runner is not None:
            self._runner.abandon()

    def forsake(self) -> int:
        """Tell whoever is in a step under way, too; how many responses were lost by it."""
        return self._runner.forsake() if self._runner else 0

    async def stop(self, timeout_s: float = 10.0) -> bool:
        """Abandon the line and let the running step end; False: it has not."""
        self.abandon()
        ended = True
        if self._runner is not None:
            ended = await asyncio.to_thread(self._runner.join, timeout_s)
        self._preparer.close()
        return ended

    @property
    def model(self) -> RewardModel:
        """The attached model.

        Raises:
            Busy: not_ready or draining.
        """
        return self.health.model

    async def beside(self, tenant: str, work: Callable[[], T]) -> T:
        """Do it beside the event loop, where tenants take turns: parsing a large body, writing a large answer."""
        return await self._preparer.beside(Flow(tenant, object()), work)

    def memory(self) -> DeviceMemory | None:
        return self._attached.memory() if self._attached else None

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
            except Busy as busy:  # there was no room for its pictures, or none of its tenant's
                full = busy.code in ("overloaded", "quota_exceeded")
                if not (caller.patient and fail and full):
                    raise
                if not await self.admission.freed(call.deadline):
                    raise

    async def _score(
        self, call: Call, items: Sequence[Item | BadItem], fail: bool, caller: Caller
    ) -> Scored:
        model, responses = self.health.trusted_model, call.responses
        flow = Flow(caller.tenant.name, call)
        async with self.admission.hold(responses, call.deadline, caller):
            hold = partial(self.admission.hold_bytes, tenant=caller.tenant)
            lease = self._preparer.lease(hold)
            try:
                plan = await self._preparer.plan(items, flow)
                signs = self._signs if caller.run else None
                scoring = Scoring(call, fail, self._planner, self._metrics, signs)
                return await scoring.run(self._preparer, model, plan, flow, lease)
            except asyncio.CancelledError:
                self._metrics.responses_done("cancelled", responses)
                raise
            finally:
                lease.close()
                call.wanted = False
                if not call.settled:  # else nothing of it is in line
                    self._planner.cancel(call)

    def _wait_s(self, tenant: Tenant) -> float:
        """Predicted seconds until a tenant's next request is scored."""
        return self._runner.wait_s(tenant.name, tenant.weight) if self._runner else 0.0

    def _backlog_s(self) -> float:
        return self._runner.backlog_s() if self._runner else 0.0

    def _watch(self) -> None:
        self._metrics.watch(
            queue_depth=lambda: self._planner.queued_responses,
            oldest_queued_age_seconds=lambda: self._planner.oldest_age_s(time.monotonic()),
            running_items=lambda: self._runner.running_responses if self._runner else 0,
            backlog_seconds=self._backlog_s,
            picture_cache_bytes=lambda: self._preparer.cache.num_bytes,
            failed_steps_in_a_row=lambda: self._runner.failed_in_a_row if self._runner else 0,
            step_token_budget=lambda: self._planner.budget_tokens,
            alive=lambda: float(self.health.alive),
            ready=lambda: float(self.health.unready is None),
            draining=lambda: float(self.health.draining),
        )


def _count_of(item: Item | BadItem) -> int:
    return len(item.responses) if isinstance(item, Item) else item.responses
