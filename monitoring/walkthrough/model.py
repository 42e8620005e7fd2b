"""The model of the walk: the drill's, with more that can go wrong with it."""

import threading
from typing import cast

from monitoring.drill.model import MOODS, DrillModel, Mood
from service.core import DeviceMemory, StagedStep
from service.errors import DeviceLost, GoldenMismatch, OutOfMemory


class WalkModel(DrillModel):
    """One word at a time, some with a number: a mood of the drill's, or one of these.

    lost, drifted, unchecked; small TOKENS (a step of more runs out of memory); slow SECONDS (a step);
    level (rewards hardly differ), long (a reward is its response's length).
    """

    def __init__(self, gpu_bytes: int = 0) -> None:
        super().__init__()
        self._gpu_bytes = gpu_bytes
        self._word, self._number = "", 0.0
        self._step = threading.Event()  # never set

    def obey(self, line: str) -> None:
        word, *number = line.split()
        self._word, self._number = word, float(number[0]) if number else 0.0
        self.become(cast(Mood, word) if word in MOODS else "well")

    def score(self, staged: StagedStep) -> list[list[float]]:
        if self._word == "small" and staged.work.tokens > self._number:
            raise OutOfMemory("tried to allocate 2 GiB")
        if self._word == "slow":
            self._step.wait(self._number)
        rewards = super().score(staged)
        if self._word == "lost":
            raise DeviceLost("CUDA error: an illegal memory access was encountered")
        if self._word == "level":
            return [[1 + reward / 1e4 for reward in group] for group in rewards]
        if self._word == "long":
            assert isinstance(staged.data, list)
            return [[len(response) / 10 for response in group] for group in staged.data]
        return rewards

    def check(self) -> float:
        if self._word == "drifted":
            raise GoldenMismatch("golden[0] gives 1.2, the manifest says 1.834", 0.634)
        if self._word == "unchecked":
            raise RuntimeError("this check cannot be made")
        return super().check()

    def memory(self) -> DeviceMemory | None:
        if not self._gpu_bytes:
            return None
        return DeviceMemory(self._gpu_bytes // 4, self._gpu_bytes // 2, self._gpu_bytes)
