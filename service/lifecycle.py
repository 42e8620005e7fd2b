"""Lifecycle: loads and checks the model beside the listening server, drains it, and says when it cannot be."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from typing import TypeVar

from fastapi import FastAPI

from service import demo
from service.api.ops_port import OpsPort
from service.core import RewardModel
from service.engine import RewardEngine
from service.engine.lag import measure_lag
from service.errors import GoldenMismatch, StartError
from service.metrics import Metrics
from service.model.loading import load, open_source
from service.model.memory import CacheSizes, MemoryPlan
from service.progress import byte_progress
from service.settings import Settings

log = logging.getLogger(__name__)

T = TypeVar("T")


class Lifecycle:
    """Loads the model beside the listening server, drains it, and says when it cannot be."""

    def __init__(
        self,
        settings: Settings,
        engine: RewardEngine,
        metrics: Metrics,
        model: RewardModel | None,
        ops: OpsPort | None,
    ) -> None:
        self._settings = settings
        self._engine = engine
        self._metrics = metrics
        self._given = model
        self._ops = ops
        self._loop: asyncio.AbstractEventLoop | None = None
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
        for task in (loading, lag):
            task.cancel()
        await self._engine.stop()
        if self._ops is not None:
            self._ops.stop()

    def bind(self) -> None:
        """Take the ops port before anything else starts.

        Raises:
            StartError: it cannot be had.
        """
        if self._ops is not None:
            self._ops.bind()

    async def bring_up(self) -> None:
        """Load and check off the event loop; a mismatch stays unready, a start error gives up."""
        begin = time.monotonic()
        self._loop = asyncio.get_running_loop()
        try:
            model = self._given
            if model is None:
                model = await in_own_thread(partial(load_model, self._settings))
            self._metrics.model_loaded(model.info, time.monotonic() - begin)
            await in_own_thread(model.check)
        except GoldenMismatch as error:
            reason = f"golden scores are not reproduced: {error}"
            log.error(reason)  # noqa: TRY400 - the line says it all
            self._engine.refuse(reason)
        except StartError as error:
            self._give_up(str(error))
        except Exception:
            log.exception("the model could not be loaded")
            self._give_up("the model could not be loaded; the log has the traceback")
        else:
            self.on_ready()
            self._engine.attach(model, self._settings.max_batch_tokens)
            if model.info.details.get("golden") == 0:
                log.warning(
                    "the checkpoint has no golden scores; nothing shows its rewards are right"
                )
            log.info(
                "ready",
                extra={
                    "fingerprint": model.info.fingerprint,
                    "numerics": model.info.numerics,
                    "seconds": round(time.monotonic() - begin, 1),
                },
            )

    def drain(self) -> None:
        """Refuse new requests now; whoever still waits after `drain_s` is told so. Safe in a signal handler."""
        if self._engine.draining or self._loop is None:
            return
        self._engine.draining = True
        log.info("draining", extra={"seconds": self._settings.drain_s})
        self._loop.call_soon_threadsafe(self._drain)

    def _drain(self) -> None:
        self._engine.stop_waiting()
        asyncio.get_running_loop().call_later(self._settings.drain_s, self._engine.abandon)

    def _give_up(self, reason: str) -> None:
        self._engine.refuse(reason)
        self.failure = reason
        self.on_failure()


async def in_own_thread(work: Callable[[], T]) -> T:
    """Run it in a thread that ends with it.

    A thread that has run torch keeps OpenMP's helpers for as long as it lives; and where there are more of them
    than cores, those of the model thread sleep between any two operators: 10 % of a step.
    """
    pool = ThreadPoolExecutor(1, thread_name_prefix="load")
    try:
        return await asyncio.get_running_loop().run_in_executor(pool, work)
    finally:
        pool.shutdown(wait=False)


def load_model(settings: Settings) -> RewardModel:
    """The checkpoint the settings name, or the embedded one."""
    checkpoint = open_source(
        settings.checkpoint or demo.checkpoint_folder(), settings.revision, settings.recipe
    )
    return load(
        checkpoint,
        name=settings.model_name,
        device=settings.device,
        dtype=settings.dtype,
        memory=MemoryPlan(
            settings.gpu_memory_fraction,
            settings.max_batch_tokens,
            CacheSizes(
                settings.feature_bank_bytes,
                settings.prefix_bank_bytes,
                settings.result_cache_entries,
            ),
        ),
        progress=byte_progress,
    )
