"""Loading in a thread of its own, from the settings to a model."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from service import demo
from service.core import RewardModel
from service.model.loading import load, open_source
from service.model.memory import CacheSizes, MemoryPlan
from service.progress import byte_progress
from service.settings import Settings

T = TypeVar("T")


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
