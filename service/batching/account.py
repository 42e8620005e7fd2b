"""What is written down of every step: what it cost and whom, what it saved, and why it failed."""

import logging
import math
import time
import traceback

from service.batching.cost import own_work
from service.batching.planner import Planner
from service.batching.salvage import count_of
from service.batching.ticket import Outcome
from service.core import StagedStep, Step
from service.errors import DeviceLost, Failure, OutOfMemory
from service.metrics import Metrics

log = logging.getLogger(__name__)


class Account:
    """Kept by the model's threads, for metrics, log, and the planner's next steps."""

    def __init__(self, planner: Planner, metrics: Metrics) -> None:
        self._planner = planner
        self._metrics = metrics

    def staged(self, seconds: float) -> None:
        self._metrics.staged(seconds)

    def succeeded(self, step: Step, payload: StagedStep, seconds: float) -> None:
        """A step, or a part of a failed one, gave its rewards."""
        work, shared = payload.work, payload.shared
        self._planner.learn(work, seconds)
        self._charge(step, shared, seconds)
        self._metrics.shared(sum(shared))
        tokens = sum(n for part in step for n in part.lengths)
        padding = max(0, work.tokens + sum(shared) - tokens)
        self._metrics.step_done(seconds, count_of(step), work.tokens, padding, time.time())

    def failed(self, error: Exception, step: Step) -> None:
        """A step failed, and is going to be run in halves; one of a single response once more."""
        # As text: a line waits to be written, and with the error would hold the failed step's memory meanwhile.
        text = "".join(traceback.format_exception(error))
        then = "its halves are run" if count_of(step) > 1 else "its one response is run once more"
        full = isinstance(error, OutOfMemory)
        what = "a step ran out of device memory" if full else "a step failed"
        self._note(error, step, f"{what}; {then}", text)

    def part_failed(self, error: Exception, step: Step) -> None:
        """So did a part of it; the traceback stands with the whole."""
        text = traceback.format_exception_only(error)[-1]
        alone = count_of(step) == 1
        self._note(error, step, "a response is at fault" if alone else "so did a part of it", text)

    def _note(self, error: Exception, step: Step, message: str, text: str) -> None:
        full, responses = isinstance(error, OutOfMemory), count_of(step)
        self._metrics.step_failed("out_of_memory" if full else "error")
        extra: dict[str, object] = {"responses": responses, "exception": text}
        if full and responses > 1:
            extra["step_token_budget"] = self._planner.out_of_memory(_computed(step))
        log.error(message, extra=extra)

    def lost(self, error: DeviceLost) -> None:
        self._metrics.step_failed("device_lost")
        log.critical("the device is lost", extra={"exception": str(error)})

    def judged(self, reward: float) -> Outcome:
        if math.isfinite(reward):
            return reward
        self._metrics.non_finite()
        return Failure("the model gave no finite number", code="non_finite_reward")

    def _charge(self, step: Step, shared: tuple[int, ...], seconds: float) -> None:
        """By what was computed for each: who shares pays less; what nobody had to compute is split evenly."""
        parts = zip(step, shared, strict=True)
        computed = [max(0, sum(part.lengths) - saved) for part, saved in parts]
        total = sum(computed)
        for part, tokens in zip(step, computed, strict=True):
            share = tokens / total if total else 1 / len(computed)
            self._metrics.charged(part.tenant, seconds * share)


def _computed(step: Step) -> int:
    """Tokens, a context that slices share once, as the budget counts them."""
    contexts = {(part.tenant, part.example.prefix_key or id(part)): part.example for part in step}
    own = sum(own_work(part.example, part.responses)[0] for part in step)
    return own + sum(example.prefix_tokens for example in contexts.values())
