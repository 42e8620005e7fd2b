"""Raw scores to the rewards that a trainer learns from (BaseReward paper, §5.4); None stays None."""

import math
import re
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Literal

MARKED = re.compile(r"\\boxed\{((?:[^{}]|\{[^{}]*\})*)\}|<answer>(.*?)</answer>", re.DOTALL)
AROUND = " \t\n.,;:!?\"'`*()[]{}$"  # an answer


@dataclass(frozen=True)
class Scheme:
    """
    Args:
        kind: "raw"; "sigmoid": 1 / (1 + exp(-(score - offset) / temperature)); "hybrid": 1 for a response that
            matches the known answer, else the sigmoid.
        normalise_groups: (r - mean) / std within a group, of n - 1; 0 in a group of one or of equals.
    """

    kind: Literal["raw", "sigmoid", "hybrid"] = "raw"
    temperature: float = 1.0
    offset: float = 0.0
    normalise_groups: bool = False

    def __post_init__(self) -> None:
        if self.kind not in ("raw", "sigmoid", "hybrid") or not self.temperature > 0:
            raise ValueError("a scheme is raw, sigmoid or hybrid, of a temperature above 0")

    def rewards(
        self,
        scores: Sequence[float | None],
        *,
        matches: Sequence[bool | None] | None = None,
        groups: Sequence[Hashable] | None = None,
    ) -> list[float | None]:
        """
        Args:
            scores: the model's own.
            matches: of "hybrid": whether each response is right; None where no answer is known.
            groups: of `normalise_groups`: equal for the responses of one group.

        Raises:
            ValueError: what the scheme needs is missing, or of another length.
        """
        if (matches is None and self.kind == "hybrid") or (
            groups is None and self.normalise_groups
        ):
            raise ValueError("a hybrid scheme needs matches, a normalising one groups")
        known = [None] * len(scores) if matches is None else matches
        rewards = [self._reward(s, match) for s, match in zip(scores, known, strict=True)]
        if groups is None or not self.normalise_groups:
            return rewards
        return normalised(rewards, groups)

    def _reward(self, score: float | None, match: bool | None) -> float | None:
        if score is None or self.kind == "raw":
            return score
        if match and self.kind == "hybrid":
            return 1.0
        x = (score - self.offset) / self.temperature
        # The branch keeps exp's argument negative, so that it cannot overflow.
        return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))


def normalised(rewards: Sequence[float | None], groups: Sequence[Hashable]) -> list[float | None]:
    members: dict[Hashable, list[float]] = {}
    for group, reward in zip(groups, rewards, strict=True):
        members.setdefault(group, []).extend([] if reward is None else [reward])
    spread = {group: _spread(row) for group, row in members.items()}
    return [
        None if reward is None else (reward - spread[group][0]) / spread[group][1]
        for group, reward in zip(groups, rewards, strict=True)
    ]


def _spread(row: Sequence[float]) -> tuple[float, float]:
    """Mean and standard deviation; of equals the value itself and 1, so that they become 0."""
    if not row or min(row) == max(row):
        return next(iter(row), 0.0), 1.0
    mean = math.fsum(row) / len(row)
    return mean, math.hypot(*(r - mean for r in row)) / math.sqrt(len(row) - 1)


def exact_match(response: str, answer: str) -> bool:
    """Equal, of itself or in its last <answer> or boxed part, but for case, spaces and punctuation around."""
    marked = MARKED.findall(response)
    return _plain(answer) in {_plain(response), *(_plain("".join(m)) for m in marked[-1:])}


def _plain(text: str) -> str:
    """Of nothing but punctuation, the punctuation."""
    words = " ".join(text.split()).casefold()
    return words.strip(AROUND) or words
