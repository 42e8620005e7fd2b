"""The model: well, or whatever is wrong with it at the moment."""

import hashlib
import math
import threading
from collections.abc import Callable, Mapping, Sequence

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
from service.errors import DeviceLost, GoldenMismatch, OutOfMemory

WORDS = frozenset(
    {
        "well",
        *("held", "slow"),  # a step never ends, or takes so many SECONDS
        *("broken", "nan", "lost"),  # it fails, gives a NaN, loses the device
        "small",  # one of more than so many TOKENS runs out of memory
        *("level", "long"),  # rewards hardly differ, or are their response's length
        *("drifted", "unchecked"),  # golden scores are not reproduced, or cannot be asked for
    }
)


class FaultyModel:
    """A `RewardModel` for text, whose rewards come from a hash until it is told one of WORDS, some with a number."""

    def __init__(self, gpu_bytes: int = 0) -> None:
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
        self._gpu_bytes = gpu_bytes
        self._word, self._number = "well", 0.0
        self._changed = threading.Condition()

    def obey(self, line: str) -> None:
        word, *number = line.split()
        assert word in WORDS, word
        with self._changed:
            self._word, self._number = word, float(number[0]) if number else 0.0
            self._changed.notify_all()

    # The Protocol

    def patchify(self, raster: Raster) -> Patches:
        raise AssertionError(f"a picture of {raster.width}x{raster.height}: nobody sends pictures")

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
        word, number = self._told()
        if word == "broken":
            raise RuntimeError("this step cannot be run")
        if word == "lost":
            raise DeviceLost("CUDA error: an illegal memory access was encountered")
        if word == "small" and staged.work.tokens > number:
            raise OutOfMemory("tried to allocate 2 GiB")
        assert isinstance(staged.data, list)
        rewards = [[_reward(response, word) for response in group] for group in staged.data]
        if word == "nan":
            rewards[0][0] = math.nan
        return rewards

    def check(self, beat: Callable[[], None] = lambda: None) -> float:  # noqa: ARG002
        if self._word == "drifted":
            raise GoldenMismatch("golden[0] gives 1.2, the manifest says 1.834", 0.634)
        if self._word in ("broken", "unchecked"):
            raise RuntimeError("this check cannot be made")
        return 0.0

    def memory(self) -> DeviceMemory | None:
        if not self._gpu_bytes:
            return None
        return DeviceMemory(self._gpu_bytes // 4, self._gpu_bytes // 2, self._gpu_bytes)

    def _told(self) -> tuple[str, float]:
        """What a step goes by; one that is held waits for another word, a slow one for its seconds."""
        with self._changed:
            self._changed.wait_for(lambda: self._word != "held")
            word, number = self._word, self._number
            if word == "slow":
                self._changed.wait_for(lambda: False, timeout=number)
            return word, number


def _responses(example: Example) -> Sequence[str]:
    assert isinstance(example.data, tuple)
    return example.data


def _reward(response: str, word: str) -> float:
    if word == "long":
        return len(response) / 10
    reward = hashlib.sha256(response.encode()).digest()[0] / 32 - 4
    return 1 + reward / 1e4 if word == "level" else reward
