"""The rewards every system must give: stock classes, one response at a time; never timed."""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.baselines.stock import StockModel
from benchmarks.traffic import Call, rows

_SAY_EVERY_S = 5.0


@dataclass(frozen=True, slots=True)
class Reference:
    """Rewards of some rows of a case's traffic, by their index."""

    rewards: dict[int, float]

    def worst(self, rewards: Sequence[float]) -> float:
        """The largest difference, over the rows that are known."""
        return max(abs(rewards[i] - known) for i, known in self.rewards.items())


def compute(model: StockModel, name: str, calls: Sequence[Call], most: int) -> Reference:
    """At most `most` rows, spread evenly from the first to the last."""
    every = rows(calls)
    count = min(most, len(every))
    chosen = sorted({round(i * (len(every) - 1) / max(count - 1, 1)) for i in range(count)})
    rewards, said = {}, time.monotonic()
    for done, index in enumerate(chosen, start=1):
        prompt, image, response = every[index]
        (rewards[index],) = model.score(model.rows(prompt, image, [response]))
        if time.monotonic() - said > _SAY_EVERY_S:
            said = time.monotonic()
            sys.stderr.write(f"reference {name}: {done}/{len(chosen)} rows\n")
    return Reference(rewards)
