"""The one thread that runs the model, and the stager that keeps exactly one step ready behind it."""

import logging
import math
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from service.batching.planner import Outcome, PlannedStep, Planner
from service.batching.policy import Pace
from service.core import RewardModel, Slice, Step
from service.errors import Busy, Failure
from service.metrics import Metrics

log = logging.getLogger(__name__)

Clock = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Staged:
    planned: PlannedStep
    payload: object  # the model's own layout of the step
    error: Exception | None = None  # staging failed; the model thread sorts out whose fault it is


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
        self.pace = Pace()
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
        return self.pace.predict_s(self._planner.queued_tokens)

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
            planned = self._planner.take(self._clock())
            if planned is None:
                self._slot.release()
                continue
            self._staged.put(self._stage(planned))
        self._staged.put(None)

    def _stage(self, planned: PlannedStep) -> Staged:
        begin = self._clock()
        try:
            payload = self._model.stage(planned.step)
        except Exception as error:  # noqa: BLE001 - whatever it is, its callers get an answer
            return Staged(planned, None, error)
        self._metrics.staged(self._clock() - begin)
        return Staged(planned, payload)

    # The model thread

    def _run_steps(self) -> None:
        while (staged := self._staged.get()) is not None:
            self._slot.release()
            self._run(staged)

    def _run(self, staged: Staged) -> None:
        begin = self._clock()
        planned = staged.planned
        if not any(job.ticket.wanted for job in planned.jobs):
            return
        self.running_since, self.running_responses = begin, len(planned.lengths)
        for job in planned.jobs:
            job.ticket.started(begin)
        outcomes = self._outcomes(staged)
        self.running_since, self.running_responses = None, 0
        self._answer(planned, outcomes)

    def _outcomes(self, staged: Staged) -> list[list[Outcome]]:
        planned, begin = staged.planned, self._clock()
        try:
            rewards = self._rewards(staged)
        except Exception as error:  # noqa: BLE001 - one caller's fault must not be another's
            self._note_failure(error, planned)
        else:
            lengths, seconds = planned.lengths, self._clock() - begin
            self.pace = self.pace.after(sum(lengths), seconds)
            self._metrics.step_done(seconds, lengths, time.time())
            return rewards
        # Outside the handler: the error would hold the failed step's memory while it is run again.
        return [self._one_by_one(part) for part in planned.step]

    def _rewards(self, staged: Staged) -> list[list[Outcome]]:
        if staged.error is not None:
            raise staged.error
        return self._scored(staged.payload, staged.planned.step)

    def _scored(self, payload: object, step: Step) -> list[list[Outcome]]:
        rewards = self._model.score(payload)
        if [len(group) for group in rewards] != [len(part.responses) for part in step]:
            raise ValueError("the model's answer does not mirror the step")
        return [[self._judged(reward) for reward in group] for group in rewards]

    def _one_by_one(self, part: Slice) -> list[Outcome]:
        """After a failed step: each response by itself, so that only the one at fault fails."""
        return [self._single(Slice(part.example, (response,))) for response in part.responses]

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
        log.error(
            "a step failed; its responses are scored one by one",
            extra={"error": type(error).__name__, "responses": len(planned.lengths)},
        )

    def _answer(self, planned: PlannedStep, outcomes: list[list[Outcome]]) -> None:
        now = self._clock()
        for job, part, group in zip(planned.jobs, planned.step, outcomes, strict=True):
            job.ticket.settle(job.item, list(zip(part.responses, group, strict=True)), now)
