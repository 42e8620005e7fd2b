"""Lifecycle: loads and checks the model beside the listening server, drains it, and says when it cannot be."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial

from fastapi import FastAPI

from service.api.ops_port import OpsPort
from service.core import RewardModel
from service.engine import RewardEngine
from service.engine.lag import measure_lag
from service.errors import DeviceLost, GoldenMismatch, NotProven, StartError
from service.lifecycle.loading import in_own_thread, load_model
from service.lifecycle.watch import GoldenWatch
from service.metrics import Metrics
from service.settings import Settings

log = logging.getLogger(__name__)

ANSWER_S = 5.0  # beyond the drain, for answers that are on their way
LAST_WORD_S = 1.0  # of it, for those who are told that their step did not end
LAST_SCRAPE_S = 30.0  # Prometheus' usual interval
JOIN_S = 10.0  # for a running step, where nobody was told to go


class Lifecycle:
    """Loads the model beside the listening server, drains it, and says when it cannot be."""

    def __init__(
        self,
        settings: Settings,
        engine: RewardEngine,
        metrics: Metrics,
        model: RewardModel | None,
        ops: OpsPort | None,
        at_end: Sequence[Callable[[], None]] = (),
    ) -> None:
        self._settings = settings
        self._engine = engine
        self._metrics = metrics
        self._given = model
        self._ops = ops
        self._at_end = at_end
        self._watch = GoldenWatch(engine, metrics, settings.golden_interval_s)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._watching: asyncio.Future[None] | None = None
        self._forsaken = False
        self._told = False  # to end, by a signal: nobody waits for one more scrape
        self._ran = False  # anything was served: before that Kubernetes tells of a start that fails
        self._lost = False  # the device; what torch does about that at the end of the process is not waited for
        self.lost_responses = 0  # that were in a step which did not end in time
        self.ended = False  # the model's threads have; else the interpreter cannot end in order
        self.failure: str | None = None  # why the server gave up, in one line
        self.on_failure: Callable[[], None] = lambda: None
        self.on_ready: Callable[[], None] = lambda: None

    @asynccontextmanager
    async def lifespan(self, _: FastAPI) -> AsyncIterator[None]:
        """From the first listening moment to the last answer. A given model is attached at once."""
        if self._ops is not None:
            self._ops.start()
        loading = asyncio.create_task(self.bring_up())
        lag = asyncio.create_task(measure_lag(self._metrics.loop_lagged))
        if self._given is not None:
            await loading
        yield
        still_loading = not loading.done()
        for task in (loading, lag, self._watching):
            if task is not None:
                task.cancel()
        stopped = await self._engine.stop(0.1 if self._forsaken else JOIN_S)
        self.ended = stopped and not still_loading and not self._lost
        if self._ops is not None:
            if self.failure is not None and self._ran and not self._told:
                await asyncio.to_thread(self._ops.wait_for_scrape, LAST_SCRAPE_S)
            self._ops.stop()
        for last in self._at_end:
            await asyncio.to_thread(last)

    def bind(self) -> None:
        """Take the ops port before anything else starts.

        Raises:
            StartError: it cannot be had.
        """
        if self._ops is not None:
            self._ops.bind()

    async def bring_up(self) -> None:
        """Load and check off the event loop; a mismatch stays unready, a start error gives up. Then keep watching."""
        begin = time.monotonic()
        self._loop = asyncio.get_running_loop()
        try:
            model = await self._checked_model(begin)
        except GoldenMismatch as error:
            known = isinstance(error, NotProven)
            reason = str(error) if known else f"golden scores are not reproduced: {error}"
            log.error(reason)  # noqa: TRY400 - the line says it all
            self._engine.health.refuse(reason)
        except StartError as error:
            self._give_up(str(error))
        except Exception:
            log.exception("the model could not be loaded")
            self._give_up("the model could not be loaded; the log has the traceback")
        else:
            self._serve(model, time.monotonic() - begin)

    async def _checked_model(self, begin: float) -> RewardModel:
        model = self._given
        if model is None:
            model = await in_own_thread(partial(load_model, self._settings))
        self._metrics.model_loaded(model.info, time.monotonic() - begin)
        await self._watch.check(model, partial(in_own_thread, model.check))
        return model

    def _serve(self, model: RewardModel, seconds: float) -> None:
        self._ran = True
        self.on_ready()
        self._engine.on_lost = self._device_lost
        self._engine.attach(model, self._settings.max_batch_tokens)
        info = model.info
        if info.details.get("golden") == 0:
            log.warning("the checkpoint has no golden scores; nothing shows its rewards are right")
        extra = {"fingerprint": info.fingerprint, "numerics": info.numerics}
        log.info("ready", extra=extra | {"seconds": round(seconds, 1)})
        self._watching = asyncio.ensure_future(self._keep_watching(model))

    async def _keep_watching(self, model: RewardModel) -> None:
        try:
            await self._watch.run(model)
        except GoldenMismatch as error:
            self._give_up(f"golden scores are not reproduced any more: {error}")
        except DeviceLost:
            pass  # the engine has said so

    # The end

    def drain(self) -> None:
        """Refuse new requests now; whoever still waits after `drain_s` is told so. Safe in a signal handler."""
        self._told = True
        if self._engine.health.draining or self._loop is None:
            return
        self._engine.health.draining = True
        log.info("draining", extra={"seconds": self._settings.drain_s})
        self._loop.call_soon_threadsafe(self._drain, self._settings.drain_s)

    def hurry(self, answers_s: float, then: Callable[[], None]) -> None:
        """Tell everyone now, and give the answers a moment. Safe in a signal handler."""
        self._told = True
        if self._ops is not None:
            self._ops.stop_waiting()
        if self._loop is not None:
            log.info("stopping at once")
            self._loop.call_soon_threadsafe(self._drain, 0.0)
            self._loop.call_soon_threadsafe(self._loop.call_later, answers_s, then)

    def _drain(self, seconds: float) -> None:
        self._engine.health.stop_waiting()
        loop = asyncio.get_running_loop()
        loop.call_later(seconds, self._engine.abandon)
        grace_s = ANSWER_S - LAST_WORD_S if seconds else 0.0
        loop.call_later(seconds + grace_s, self._forsake)

    def _forsake(self) -> None:
        self._forsaken = True
        lost = self._engine.forsake()
        self.lost_responses += lost
        if lost:
            log.error("a step did not end in time", extra={"lost_responses": lost})

    def _device_lost(self) -> None:
        assert self._loop is not None
        self._lost = True
        self._loop.call_soon_threadsafe(
            self._give_up, "the device failed; its errors are in the log"
        )

    def _give_up(self, reason: str) -> None:
        """Nothing can be scored any more: whoever waits is told, and the process ends."""
        if self.failure is None:
            log.error("giving up", extra={"reason": reason})
            self.failure = reason
            self._engine.health.refuse(reason)
            self._engine.abandon()
            self.on_failure()
