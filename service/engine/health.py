"""Why the server does not answer, and whether its model gets anywhere: what the probes ask."""

import asyncio
import time
from dataclasses import dataclass

from service.batching.runner import Runner
from service.core import RewardModel
from service.engine.waiting import waited
from service.errors import Busy


@dataclass(frozen=True, slots=True)
class HealthLimits:
    hang_timeout_s: float = 120.0
    max_failed_steps: int = 5  # in a row, of which none scored anything


class Health:
    """Never touches the device."""

    def __init__(self, limits: HealthLimits) -> None:
        self._limits = limits
        self._model: RewardModel | None = None
        self._runner: Runner | None = None
        self._settled = asyncio.Event()  # ready, or not going to be
        self._refusal: str | None = "the model is loading"
        self.draining = False

    def attach(self, model: RewardModel, runner: Runner) -> None:
        self._model, self._runner = model, runner
        self.accept()

    def accept(self) -> None:
        self._refusal = None
        self._settled.set()

    def refuse(self, reason: str) -> None:
        """Nothing is scored from now on, and why, until `accept`."""
        self._refusal = reason
        self._settled.set()

    def stop_waiting(self) -> None:
        """Whoever waits for the model to load need not any more."""
        self._settled.set()

    async def until_ready(self, deadline: float) -> None:
        """Wait while the model is loading, until the deadline (monotonic seconds) at the longest."""
        if self._refusal is not None:
            await waited(deadline - time.monotonic(), self._settled.wait())

    @property
    def model(self) -> RewardModel:
        """The attached model, for a request that comes in.

        Raises:
            Busy: not_ready or draining.
        """
        if self.draining:
            raise Busy("the server is shutting down", code="draining")
        return self.trusted_model

    @property
    def trusted_model(self) -> RewardModel:
        """The same for one that came in before the server was told to stop.

        Raises:
            Busy: not_ready.
        """
        if self._model is None or self._refusal is not None:
            raise Busy(self._refusal or "no model", code="not_ready", retry_after_s=5)
        return self._model

    @property
    def alive(self) -> bool:
        """False when the model's threads died, or work waits and no step ends."""
        return self._runner is None or self._runner.alive(self._limits.hang_timeout_s)

    @property
    def failing(self) -> bool:
        """So many steps in a row gave nothing that the model itself is to be doubted."""
        failed = 0 if self._runner is None else self._runner.failed_in_a_row
        return failed >= self._limits.max_failed_steps

    @property
    def unready(self) -> str | None:
        """Why no more requests should be sent here; None if they should."""
        try:
            _ = self.model
        except Busy as busy:
            return busy.message
        if not self.alive:
            return "the model is stuck or dead"
        return "one step after another fails" if self.failing else None
