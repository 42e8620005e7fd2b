"""The one thread that runs the model, and the stager that keeps exactly one step ready behind it."""

import logging
import math
import queue
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from service.batching.planner import Planner
from service.batching.policy import close_in_s
from service.batching.ticket import Outcome, PlannedStep
from service.core import RewardModel, Slice, StagedStep, Step
from service.errors import Busy, Failure
from service.metrics import Metrics

log = logging.getLogger(__name__)

Clock = Callable[[], float]


MARGIN_S = 0.002  # for what is not measured: two threads to be woken
MARGIN_DECAY = 0.9  # a step


@dataclass(slots=True, eq=False)
class Staged:
    planned: PlannedStep
    payload: StagedStep | None  # the model's own layout of the step
    predicted_s: float = 0.0
    error: Exception | None = None  # staging failed; the model thread sorts out whose fault it is
    started_at: float | None = None  # clock
    ended: threading.Event = field(default_factory=threading.Event)

    def left_s(self, now: float) -> float:
        """Predicted time until it ends."""
        ran = 0.0 if self.started_at is None else now - self.started_at
        return 0.0 if self.ended.is_set() else max(0.0, self.predicted_s - ran)


class Runner:
    """wait → choose → stage → run → answer. A caller is always answered, whatever the model does."""

    def __init__(
        self, model: RewardModel, planner: Planner, metrics: Metrics, clock: Clock = time.monotonic
    ) -> None:
        self._model = model
        self._planner = planner
        self._metrics = metrics
        self._clock = clock
        self._slot = threading.Semaphore(1)  # free while no step is staged
        self._staged: queue.SimpleQueue[Staged | None] = queue.SimpleQueue()
        self._threads = (
            threading.Thread(target=self._stage_steps, name="stager", daemon=True),
            threading.Thread(target=self._run_steps, name="model", daemon=True),
        )
        self._running: Staged | None = None
        self._next: Staged | None = None
        self._margin_s = 0.0  # what choosing and staging took at worst, of late
        self.running_responses = 0
        self.running_since: float | None = None  # clock; None while idle

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def alive(self, hang_timeout_s: float) -> bool:
        """False if a thread died or one step has been running for too long; idle is alive."""
        since = self.running_since
        stuck = since is not None and self._clock() - since > hang_timeout_s
        return not stuck and all(thread.is_alive() for thread in self._threads)

    def backlog_s(self) -> float:
        """Predicted time until everything accepted so far is scored."""
        now = self._clock()
        ahead = {step for step in (self._running, self._next) if step is not None}
        return self._planner.backlog_s() + sum(step.left_s(now) for step in ahead)

    def abandon(self) -> None:
        """Take no more work and tell whoever is in line; the running and the staged step still finish."""
        now = self._clock()
        error = Busy("the server is shutting down", code="draining")
        for job in self._planner.close():
            job.ticket.settle(job.item, [(r, error) for r in job.waiting], now)

    def join(self, timeout_s: float) -> None:
        for thread in self._threads:
            thread.join(timeout_s)

    # The stager

    def _stage_steps(self) -> None:
        while self._planner.wait():
            self._planner.wait_for_company(self._clock())
            self._slot.acquire()
            self._stay_open()
            if not self._stage_next():
                self._slot.release()
        self._staged.put(None)

    def _stay_open(self) -> None:
        """Let late siblings join: until the step before is about to end, or, when none runs, for a moment."""
        ahead = self._running
        if ahead is None or ahead.started_at is None or ahead.ended.is_set():
            self._planner.wait_for_arrivals()
        else:
            margin = self._margin_s + MARGIN_S
            ahead.ended.wait(close_in_s(ahead.started_at, ahead.predicted_s, margin, self._clock()))

    def _stage_next(self) -> bool:
        """False if nobody in line was still waiting."""
        begin = self._clock()
        planned = self._planner.take(begin)
        if planned is None:
            return False
        staged = self._stage(planned)
        self._margin_s = max(self._clock() - begin, MARGIN_DECAY * self._margin_s)
        self._next = staged
        self._staged.put(staged)
        return True

    def _stage(self, planned: PlannedStep) -> Staged:
        begin = self._clock()
        try:
            payload = self._model.stage(planned.step)
        except Exception as error:  # noqa: BLE001 - whatever it is, its callers get an answer
            return Staged(planned, None, error=error)
        self._metrics.staged(self._clock() - begin)
        return Staged(planned, payload, self._planner.predict_s(payload.work))

    # The model thread

    def _run_steps(self) -> None:
        while self._run_next():
            pass  # between two steps nothing keeps the last one's callers and what they sent

    def _run_next(self) -> bool:
        """False once there will be no more steps."""
        staged = self._staged.get()
        if staged is None:
            return False
        staged.started_at = self._clock()
        self._running, self._next = staged, None
        self._slot.release()
        self._run(staged)
        self._running = None
        return True

    def _run(self, staged: Staged) -> None:
        planned = staged.planned
        wanted = any(job.ticket.wanted for job in planned.jobs)
        outcomes = self._forward(staged) if wanted else []
        staged.ended.set()
        if wanted:
            self._answer(planned, outcomes)

    def _forward(self, staged: Staged) -> list[list[Outcome]]:
        begin = self._clock()
        self.running_since, self.running_responses = begin, len(staged.planned.lengths)
        for job in staged.planned.jobs:
            job.ticket.started(begin)
        outcomes = self._outcomes(staged)
        self.running_since, self.running_responses = None, 0
        return outcomes

    def _outcomes(self, staged: Staged) -> list[list[Outcome]]:
        planned, begin = staged.planned, self._clock()
        try:
            rewards = self._rewards(staged)
        except Exception as error:  # noqa: BLE001 - one caller's fault must not be another's
            self._note_failure(error, planned)
        else:
            self._note_success(staged, self._clock() - begin)
            return rewards
        # Outside the handler: the error would hold the failed step's memory while it is run again.
        staged.payload = staged.error = None
        return [self._one_by_one(part) for part in planned.step]

    def _note_success(self, staged: Staged, seconds: float) -> None:
        assert staged.payload is not None
        work, shared = staged.payload.work, staged.payload.shared
        for job, tokens in zip(staged.planned.jobs, shared, strict=True):
            job.ticket.saved(tokens)
            self._metrics.shared(tokens)
        self._planner.learn(work, seconds)
        lengths = staged.planned.lengths
        padding = max(0, work.tokens + sum(shared) - sum(lengths))
        self._metrics.step_done(seconds, len(lengths), work.tokens, padding, time.time())

    def _rewards(self, staged: Staged) -> list[list[Outcome]]:
        if staged.error is not None:
            raise staged.error
        assert staged.payload is not None
        return self._scored(staged.payload, staged.planned.step)

    def _scored(self, payload: StagedStep, step: Step) -> list[list[Outcome]]:
        rewards = self._model.score(payload)
        if [len(group) for group in rewards] != [len(part.responses) for part in step]:
            raise ValueError("the model's answer does not mirror the step")
        return [[self._judged(reward) for reward in group] for group in rewards]

    def _one_by_one(self, part: Slice) -> list[Outcome]:
        """After a failed step: each response by itself, so that only the one at fault fails."""
        return [self._single(replace(part, responses=(response,))) for response in part.responses]

    def _single(self, part: Slice) -> Outcome:
        self.running_since = self._clock()  # a retry is progress, not a hang
        try:
            return self._scored(self._model.stage((part,)), (part,))[0][0]
        except Exception:
            log.exception("the model failed on a response", extra={"tokens": part.lengths[0]})
            return Failure("the model failed on this response", code="model_failure")

    def _judged(self, reward: float) -> Outcome:
        if math.isfinite(reward):
            return reward
        self._metrics.non_finite()
        return Failure("the model gave no finite number", code="non_finite_reward")

    def _note_failure(self, error: Exception, planned: PlannedStep) -> None:
        if type(error).__name__ == "OutOfMemoryError":
            self._metrics.out_of_memory()
        # As text: a line waits to be written, and with the error would hold the failed step's memory meanwhile.
        text = "".join(traceback.format_exception(error))
        log.error(
            "a step failed; its responses are scored one by one",
            extra={"responses": len(planned.lengths), "exception": text},
        )

    def _answer(self, planned: PlannedStep, outcomes: list[list[Outcome]]) -> None:
        now = self._clock()
        for job, part, group in zip(planned.jobs, planned.step, outcomes, strict=True):
            job.ticket.settle(job.item, list(zip(part.responses, group, strict=True)), now)
