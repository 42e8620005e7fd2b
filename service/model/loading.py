"""A checkpoint's name to a loaded model: the one way in, for the server and for every command."""

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, NotRequired, TypedDict, Unpack

from service.cores import usable_cores
from service.model.checkpoint import Checkpoint, open_checkpoint
from service.model.location import locate
from service.model.memory import MemoryPlan

if TYPE_CHECKING:  # torch takes seconds to import; opening a checkpoint does without it
    from service.model.reward_model import BaseRewardModel

log = logging.getLogger(__name__)

ProgressBar = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]


class Options(TypedDict):
    """What `BaseRewardModel` takes beside the checkpoint."""

    name: str
    device: str
    dtype: str
    memory: NotRequired[MemoryPlan]


def open_source(
    source: str | Path, revision: str | None = None, recipe: str | None = None
) -> Checkpoint:
    """
    Raises:
        StartError: in one line, why this is no checkpoint.
    """
    return open_checkpoint(locate(str(source), revision), recipe)


def load(
    checkpoint: Checkpoint, *, progress: ProgressBar, **options: Unpack[Options]
) -> "BaseRewardModel":
    """
    Raises:
        StartError: the weights, the device or its memory does not do.
    """
    import torch

    from service.model.reward_model import BaseRewardModel

    # torch counts the node's cores, whatever part of them its container may use.
    torch.set_num_threads(min(torch.get_num_threads(), usable_cores()))
    for warning in checkpoint.warnings:
        log.warning(warning)
    with progress("loading weights", checkpoint.weight_bytes) as advance:
        return BaseRewardModel(checkpoint, progress=advance, **options)
