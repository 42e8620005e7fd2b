"""What was answered: to each chunk, and to the call as a whole, in the caller's order."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class ItemError:
    """Why a reward is None, or a warning about it; `index` counts the caller's items."""

    index: int
    response: int | None
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds: the whole as the client saw it, the stages as the slowest chunk's server did."""

    total_s: float
    prepare_s: float
    queue_s: float
    forward_s: float


@dataclass(frozen=True, slots=True)
class Answer:
    """To one chunk, or to none of it; rewards by the caller's index."""

    rewards: Mapping[int, Any]
    errors: Sequence[ItemError]
    warnings: Sequence[ItemError] = ()
    scale: tuple[str | None, str | None] = (None, None)  # fingerprint and numerics
    usage: Mapping[str, int] | None = None
    stages_ms: Sequence[float] = (0.0, 0.0, 0.0)  # prepare, queue, forward


class Rewards(list[Any]):
    """A float for each `response`, a list for each `responses`; None only where `errors` says why."""

    def __init__(self, answers: Sequence[Answer] = (), total_s: float = 0.0) -> None:
        rewards = {index: reward for a in answers for index, reward in a.rewards.items()}
        super().__init__(rewards[index] for index in range(len(rewards)))
        self.errors = sorted((e for a in answers for e in a.errors), key=lambda e: e.index)
        self.warnings = sorted((w for a in answers for w in a.warnings), key=lambda w: w.index)
        scales = [a.scale for a in answers if a.scale[0]]
        self.fingerprint, self.numerics = scales[0] if scales else (None, None)
        slowest = map(max, zip((0.0, 0.0, 0.0), *(a.stages_ms for a in answers), strict=True))
        self.timing = Timing(total_s, *(ms / 1000 for ms in slowest))
        self.usage = dict(sum((Counter(a.usage) for a in answers), Counter[str]()))
