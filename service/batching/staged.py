"""What stands before the model thread: a step laid out for it, or an errand; and who answers its callers."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field

from service.batching.ticket import Outcome, PlannedStep
from service.core import StagedStep, Step
from service.errors import ServiceError


@dataclass(slots=True, eq=False)
class Staged:
    planned: PlannedStep
    payload: StagedStep | None = None  # the model's own layout of the step
    predicted_s: float = 0.0
    error: Exception | None = None  # staging failed; the model thread sorts out whose fault it is
    overtaken: bool = False  # by one light step: by no more
    started_at: float | None = None  # clock
    ended: threading.Event = field(default_factory=threading.Event)
    answering: threading.Lock = field(default_factory=threading.Lock)

    def claim(self) -> bool:
        """True once: for whoever answers its callers."""
        return self.answering.acquire(blocking=False)

    def left_s(self, now: float) -> float:
        """Predicted time until it ends."""
        ran = 0.0 if self.started_at is None else now - self.started_at
        return 0.0 if self.ended.is_set() else max(0.0, self.predicted_s - ran)


@dataclass(frozen=True, slots=True, eq=False)
class Errand:
    """Something else that only the model thread may do with the model, between two steps."""

    work: Callable[[Callable[[], None]], float]  # calls its argument as it gets on
    done: Future[float] = field(default_factory=Future)


def refused(step: Step, error: ServiceError) -> list[list[Outcome]]:
    return [[error] * len(part.responses) for part in step]
