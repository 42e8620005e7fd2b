"""What a step costs: the work of groups, counted, and its seconds, learned from the steps that ran; pure, no torch."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from service.core import Example, Work

FORGET = (
    0.97  # a step a hundred steps ago counts a twentieth: the model follows a machine that slows
)
BOUND = 3.0  # one step is believed to be at most so many times slower or faster than expected
# How reluctantly a coefficient grows where the traffic cannot tell them apart. What every step costs
# needs the most evidence: if all steps were alike, a longer one is better taken to cost more.
RELUCTANCE = (1e-3, 1e-4, 1e-4, 1e-4)
SWEEPS = 20
LEAST_S = 1e-6  # no clock resolves less, and its square still divides

Vector = tuple[float, ...]
NONE = (0.0, 0.0, 0.0, 0.0)


def pairs(tokens: int) -> int:
    """(query, key) pairs of causal attention over one sequence."""
    return tokens * (tokens + 1) // 2


def own_work(example: Example, responses: Iterable[int]) -> tuple[int, int]:
    """Tokens and pairs that these responses add to the context they share."""
    prefix, lengths = example.prefix_tokens, example.lengths
    tokens = attended = 0
    for response in responses:
        tokens += lengths[response] - prefix
        attended += pairs(lengths[response]) - pairs(prefix)
    return tokens, attended


@dataclass(slots=True)
class Tally:
    """A sum of work that is added to and taken from."""

    tokens: int = 0
    pairs: int = 0
    patches: int = 0

    def add(self, own: tuple[int, int], sign: int = 1) -> None:
        """What responses add, `own_work`."""
        self.tokens += sign * own[0]
        self.pairs += sign * own[1]

    def add_context(self, example: Example, sign: int = 1) -> None:
        """What the responses of a group share: computed once a step."""
        self.tokens += sign * example.prefix_tokens
        self.pairs += sign * pairs(example.prefix_tokens)
        self.patches += sign * example.image_patches

    @property
    def work(self) -> Work:
        return Work(self.tokens, self.pairs, self.patches)


@dataclass(frozen=True, slots=True)
class CostModel:
    """Seconds of work: a constant a step, then so much a token, a pair and a patch; none is negative.

    Least squares over the relative errors of past steps, older ones counting less. Relative, because
    a step of 5 ms must be predicted as well as one of 5 s.
    """

    gram: tuple[Vector, ...] = (NONE,) * 4  # normal equations: sums of products of features,
    target: Vector = NONE  # and of features
    coefficients: Vector = NONE

    def predict_s(self, work: Work, steps: int = 1) -> float:
        """Seconds that this work takes in so many steps; 0.0 until a step has run."""
        features = (steps, work.tokens, work.pairs, work.patches)
        return sum(c * x for c, x in zip(self.coefficients, features, strict=True))

    def after(self, work: Work, seconds: float) -> "CostModel":
        """The model that has seen one more step."""
        if not 0.0 < seconds < math.inf:
            return self
        seconds = self._believed(work, max(seconds, LEAST_S))
        row = [x / seconds for x in (1, work.tokens, work.pairs, work.patches)]
        gram = tuple(
            tuple(FORGET * old + x * y for old, y in zip(line, row, strict=True))
            for line, x in zip(self.gram, row, strict=True)
        )
        target = tuple(FORGET * old + x for old, x in zip(self.target, row, strict=True))
        return CostModel(gram, target, _solve(gram, target, self.coefficients))

    def _believed(self, work: Work, seconds: float) -> float:
        """A step that was held up, by warm-up or by the machine, says little about the next one."""
        expected = self.predict_s(work)
        if expected < LEAST_S:
            return seconds
        return min(max(seconds, expected / BOUND), expected * BOUND)


def _solve(gram: tuple[Vector, ...], target: Vector, start: Vector) -> Vector:
    """Non-negative least squares by coordinate descent, which collinear features cannot upset.

    A kind of work that has not been seen for long keeps its coefficient.
    """
    found = list(start)
    for _ in range(SWEEPS):
        for j in (1, 2, 3, 0):
            own = gram[j][j]
            if own > 1e-200:  # noqa: PLR2004 - seen at all, and not yet forgotten to nothing
                rest = target[j] - sum(g * c for g, c in zip(gram[j], found, strict=True))
                rest += own * found[j]
                found[j] = max(0.0, rest / (own * (1.0 + RELUCTANCE[j])))
    return tuple(found)
