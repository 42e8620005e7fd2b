"""What goes into the next step: a pure function of the line and the limits, without clock, lock or torch."""

from collections.abc import Sequence
from dataclasses import dataclass

MIN_FILL = 0.5  # of a padded step's tokens at least this share is real


@dataclass(frozen=True, slots=True)
class BatchLimits:
    max_tokens: int  # padded: rows x longest row
    max_responses: int
    max_groups: int = 512  # how far down the line one step looks


def take_step(line: Sequence[Sequence[int]], limits: BatchLimits) -> list[tuple[int, ...]]:
    """Choose responses for one padded step.

    Args:
        line: for each waiting group, in order, the token lengths of its waiting responses.
        limits: of the step.

    Returns:
        For each group looked at, the positions chosen among its waiting responses. The first
        response in line is always chosen, alone if it is bigger than the budget, so the line moves.
        A response that does not fit, or would fill the step with padding, is passed over this time.
    """
    rows = longest = total = 0
    chosen: list[tuple[int, ...]] = []
    for lengths in line[: limits.max_groups]:
        if rows >= limits.max_responses:
            break
        taken = []
        for position, length in enumerate(lengths):
            if rows and not _fits(rows + 1, max(longest, length), total + length, limits):
                continue
            taken.append(position)
            rows, longest, total = rows + 1, max(longest, length), total + length
        chosen.append(tuple(taken))
    return chosen


def _fits(rows: int, longest: int, total: int, limits: BatchLimits) -> bool:
    padded = rows * longest
    return (
        rows <= limits.max_responses and padded <= limits.max_tokens and total >= padded * MIN_FILL
    )


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds a token, learned from the steps that ran; what predicted waits rest on."""

    seconds_per_token: float = 0.0  # 0: no step yet
    weight: float = 0.2  # of the newest step

    def after(self, tokens: int, seconds: float) -> "Pace":
        newest = seconds / max(tokens, 1)
        if self.seconds_per_token == 0.0:
            return Pace(newest, self.weight)
        old = self.seconds_per_token
        return Pace(old + self.weight * (newest - old), self.weight)

    def predict_s(self, tokens: int) -> float:
        return tokens * self.seconds_per_token
