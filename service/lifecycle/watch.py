"""The golden scores again and again while the server runs: hardware and memory can go wrong after a good start."""

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable

from service.core import RewardModel
from service.engine import RewardEngine
from service.errors import DeviceLost, GoldenMismatch
from service.metrics import Metrics

log = logging.getLogger(__name__)

LOOK_S = 1.0
DOUBTED_S = 10.0  # between two checks while one step after another fails


class GoldenWatch:
    """Checks before anything is served, then every `interval_s`, and sooner while the model is doubted."""

    def __init__(self, engine: RewardEngine, metrics: Metrics, interval_s: float) -> None:
        self._engine = engine
        self._metrics = metrics
        self._interval_s = interval_s or math.inf
        self._checked_at = time.monotonic()
        self._doubted = False

    async def check(self, model: RewardModel, look: Callable[[], Awaitable[float]]) -> None:
        """
        Raises:
            GoldenMismatch, or whatever the model raises.
        """
        outcome, worst = "failed", math.nan
        try:
            worst = await look()
            outcome = "reproduced"
        except GoldenMismatch as error:
            outcome, worst = "drifted", error.difference
            raise
        finally:
            self._checked_at = time.monotonic()
            self._metrics.golden_checked(outcome, worst, model.info.tolerance)

    async def run(self, model: RewardModel) -> None:
        """For as long as the server does, or until they are not reproduced.

        Raises:
            GoldenMismatch: what is served now cannot be trusted.
        """
        while True:
            await asyncio.sleep(LOOK_S)
            if self._due():
                await self._again(model)

    def _due(self) -> bool:
        was_doubted, self._doubted = self._doubted, self._engine.health.failing
        if self._doubted and not was_doubted:
            return True
        due_s = DOUBTED_S if self._doubted else self._interval_s
        return time.monotonic() - self._checked_at >= due_s

    async def _again(self, model: RewardModel) -> None:
        try:
            await self.check(model, self._engine.check)
        except (GoldenMismatch, DeviceLost):
            raise
        except Exception:
            # It fails as the steps do, whose callers have been told; the next check comes.
            log.exception("the golden scores could not be checked")
