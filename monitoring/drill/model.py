"""The model that the drill serves: well, held, giving NaN, or broken, as it is told."""

import hashlib
import math
import threading
from collections.abc import Mapping, Sequence
from typing import Literal, get_args

from service.core import (
    DeviceMemory,
    Example,
    Item,
    ModelInfo,
    Patches,
    Picture,
    Raster,
    StagedStep,
    Step,
    Work,
)

Mood = Literal["well", "held", "nan", "broken"]
MOODS = get_args(Mood)


class DrillModel:
    """A `RewardModel` for text, whose rewards come from a hash."""

    def __init__(self) -> None:
        self.info = ModelInfo(
            name="basereward",
            fingerprint="sha256:d7177",
            numerics="float32/exact/cpu/none",
            tolerance=0.0,
            scoring="pointwise",
            max_tokens=4096,
            image_position="before_text",
            apply_exif=True,
        )
        self._mood: Mood = "well"
        self._changed = threading.Condition()

    def become(self, mood: Mood) -> None:
        with self._changed:
            self._mood = mood
            self._changed.notify_all()

    # The Protocol

    def patchify(self, raster: Raster) -> Patches:
        raise NotImplementedError("the drill sends no pictures")

    def encode(
        self,
        items: Sequence[Item],
        pictures: Mapping[Picture, Patches],  # noqa: ARG002
    ) -> list[Example | Exception]:
        return [
            Example(tuple(len(r) + 1 for r in item.responses), 0, item.responses) for item in items
        ]

    def stage(self, step: Step) -> StagedStep:
        responses = [[_responses(part.example)[r] for r in part.responses] for part in step]
        tokens = sum(sum(part.lengths) for part in step)
        return StagedStep(Work(tokens, 0, 0), (0,) * len(step), responses)

    def score(self, staged: StagedStep) -> list[list[float]]:
        with self._changed:
            self._changed.wait_for(lambda: self._mood != "held")
            mood = self._mood
        if mood == "broken":
            raise RuntimeError("the drill broke this step")
        assert isinstance(staged.data, list)
        rewards = [[_reward(response) for response in group] for group in staged.data]
        if mood == "nan":
            rewards[0][0] = math.nan
        return rewards

    def check(self) -> float:
        if self._mood == "broken":
            raise RuntimeError("the drill broke this check")
        return 0.0

    def memory(self) -> DeviceMemory | None:
        return None


def _responses(example: Example) -> Sequence[str]:
    assert isinstance(example.data, tuple)
    return example.data


def _reward(response: str) -> float:
    return hashlib.sha256(response.encode()).digest()[0] / 32 - 4
