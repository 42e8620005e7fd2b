"""The one thread that runs the model, and what becomes of those who wait for it."""

import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future

from service.batching.account import Account
from service.batching.planner import Planner
from service.batching.salvage import salvage
from service.batching.staged import Errand, Staged, refused
from service.batching.stager import Clock, Stager
from service.batching.ticket import Outcome, PlannedStep
from service.core import RewardModel, StagedStep, Step
from service.errors import Busy, DeviceLost, GoldenMismatch
from service.metrics import Metrics


class Runner:
    """wait → choose → stage → run → answer. A caller is always answered, whatever the model does."""

    def __init__(
        self,
        model: RewardModel,
        planner: Planner,
        metrics: Metrics,
        clock: Clock = time.monotonic,
        on_lost: Callable[[], None] = lambda: None,
    ) -> None:
        self._model = model
        self._planner = planner
        self._account = Account(planner, metrics)
        self._clock = clock
        self._on_lost = on_lost
        self._staged: queue.SimpleQueue[Staged | Errand | None] = queue.SimpleQueue()
        self._stager = Stager(model, planner, self._account, clock, self._staged.put)
        self._threads = (
            threading.Thread(target=self._stager.run, name="stager", daemon=True),
            threading.Thread(target=self._run_steps, name="model", daemon=True),
        )
        self._beat_at = clock()  # of the last progress
        self._busy = False  # with a step or an errand
        self._gone: Busy | None = None  # why nothing can be scored any more
        self.failed_in_a_row = 0  # steps, since one that scored anything

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def alive(self, hang_timeout_s: float) -> bool:
        """False if a thread died, or work waits and nothing has ended for too long; idle is alive."""
        return self._still_s() <= hang_timeout_s and all(t.is_alive() for t in self._threads)

    @property
    def running_responses(self) -> int:
        running = self._stager.running
        return len(running.planned.lengths) if running else 0

    def backlog_s(self) -> float:
        """Predicted time until everything accepted so far is scored."""
        now = self._clock()
        return self._planner.backlog_s() + self._left_s(now)

    def wait_s(self, tenant: str, weight: float) -> float:
        """Predicted time until a tenant's next request is scored, with its share of the device."""
        return self._planner.wait_s(tenant, weight) + self._left_s(self._clock())

    def between_steps(self, work: Callable[[Callable[[], None]], float]) -> Future[float]:
        """Have the model thread do it before its next step; it calls its argument as it gets on."""
        errand = Errand(work)
        self._staged.put(errand)
        return errand.done

    def abandon(self) -> None:
        """Take no more work and tell whoever is in line; the running and the staged step still finish."""
        now = self._clock()
        error = Busy("the server is shutting down", code="draining")
        for job in self._planner.close():
            job.settle(((r, error) for r in job.waiting), now)

    def forsake(self) -> int:
        """Tell whoever is in a step under way, too, and wait for it no longer; how many responses were lost."""
        error = Busy("the server is shutting down", code="draining")
        steps = [step for step in self._stager.under_way if step.claim()]
        lost = sum(step.planned.wanted_responses for step in steps)
        for step in steps:
            self._settle(step.planned, refused(step.planned.step, error))
        return lost

    def join(self, timeout_s: float) -> bool:
        """Wait for the threads to end; False: they have not."""
        until = time.monotonic() + timeout_s
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _still_s(self) -> float:
        """How long work has been waiting for any progress; 0.0 while there is none."""
        now = self._clock()
        still_s = now - max(self._beat_at, self._stager.woken_at)
        if self._busy or self._stager.under_way:
            return still_s
        return min(still_s, self._planner.oldest_age_s(now))

    def _beat(self) -> None:
        self._beat_at = self._clock()

    def _left_s(self, now: float) -> float:
        """Predicted time of all steps under way."""
        return sum(step.left_s(now) for step in self._stager.under_way)

    # The model thread

    def _run_steps(self) -> None:
        while self._run_next():
            pass  # between two steps nothing keeps the last one's callers and what they sent

    def _run_next(self) -> bool:
        """False once there will be no more steps."""
        staged = self._staged.get()
        if staged is None:
            return False
        self._beat()
        self._busy = True
        if isinstance(staged, Errand):
            self._do(staged)
        else:
            self._run(self._stager.take())  # what was staged later may go before it
            self._stager.running = None
        self._beat()
        self._busy = False
        return True

    def _do(self, errand: Errand) -> None:
        if not errand.done.set_running_or_notify_cancel():
            return
        try:
            errand.done.set_result(errand.work(self._beat))
        except Exception as error:  # noqa: BLE001 - who waits for it is told
            if isinstance(error, GoldenMismatch):
                self._give_up("the model's rewards have drifted; the server restarts")
            elif isinstance(error, DeviceLost):
                self._lose(error)
            errand.done.set_exception(error)

    def _run(self, staged: Staged) -> None:
        planned = staged.planned
        wanted = planned.wanted_responses > 0
        outcomes = self._forward(staged) if wanted else []
        staged.ended.set()
        if wanted and staged.claim():
            self._settle(planned, outcomes)

    def _forward(self, staged: Staged) -> list[list[Outcome]]:
        begin = self._clock()
        for job in staged.planned.jobs:
            job.ticket.started(begin)
        outcomes: list[list[Outcome]] = []
        try:
            if self._gone is None:
                outcomes = self._outcomes(staged)
        except DeviceLost as error:
            self._lose(error)
        if self._gone is not None:
            return refused(staged.planned.step, self._gone)
        scored = any(isinstance(o, float) for group in outcomes for o in group)
        self.failed_in_a_row = 0 if scored else self.failed_in_a_row + 1
        return outcomes

    def _outcomes(self, staged: Staged) -> list[list[Outcome]]:
        planned, begin = staged.planned, self._clock()
        try:
            outcomes = self._staged_scored(staged)
        except DeviceLost:
            raise
        except Exception as error:  # noqa: BLE001 - one caller's fault must not be another's
            self._account.failed(error, planned.step)
        else:
            assert staged.payload is not None
            self._account.succeeded(planned.step, staged.payload, self._clock() - begin)
            for job, tokens in zip(planned.jobs, staged.payload.shared, strict=True):
                job.ticket.saved(tokens)
            return outcomes
        # Outside the handler: the error would hold the failed step's memory while its halves are run.
        staged.payload = staged.error = None
        each = iter(salvage(planned.step, self._part_scored, self._account.part_failed))
        return [[next(each) for _ in part.responses] for part in planned.step]

    def _staged_scored(self, staged: Staged) -> list[list[Outcome]]:
        if staged.error is not None:
            raise staged.error
        assert staged.payload is not None
        return self._scored(staged.payload, staged.planned.step)

    def _part_scored(self, part: Step) -> list[list[Outcome]]:
        self._beat()  # a part of a failed step is progress, not a hang
        payload, begin = self._model.stage(part), self._clock()
        outcomes = self._scored(payload, part)
        self._account.succeeded(part, payload, self._clock() - begin)
        return outcomes

    def _scored(self, payload: StagedStep, step: Step) -> list[list[Outcome]]:
        rewards = self._model.score(payload)
        if [len(group) for group in rewards] != [len(part.responses) for part in step]:
            raise ValueError("the model's answer does not mirror the step")
        return [[self._account.judged(reward) for reward in group] for group in rewards]

    def _lose(self, error: DeviceLost) -> None:
        self._account.lost(error)
        self._give_up("the device failed; the server restarts")
        self._on_lost()

    def _give_up(self, reason: str) -> None:
        """No step is run any more; whoever waits for one is told to come again."""
        self._gone = Busy(reason, code="not_ready", retry_after_s=5)

    def _settle(self, planned: PlannedStep, outcomes: list[list[Outcome]]) -> None:
        now = self._clock()
        for job, part, group in zip(planned.jobs, planned.step, outcomes, strict=True):
            job.settle(zip(part.responses, group, strict=True), now)
