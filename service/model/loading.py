"""A checkpoint's name to a loaded model: the one way in, for the server and for every command."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from service.model.checkpoint import Checkpoint, locate, open_checkpoint

if TYPE_CHECKING:  # torch takes seconds to import; opening a checkpoint does without it
    from service.model.reward_model import BaseRewardModel

ProgressBar = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]


def open_source(
    source: str | Path, revision: str | None = None, recipe: str | None = None
) -> Checkpoint:
    """
    Raises:
        StartError: in one line, why this is no checkpoint.
    """
    return open_checkpoint(locate(str(source), revision), recipe)


def load(
    checkpoint: Checkpoint, *, name: str, device: str, dtype: str, progress: ProgressBar
) -> "BaseRewardModel":
    """
    Raises:
        StartError: the weights, the device or its memory does not do.
    """
    from service.model.reward_model import BaseRewardModel

    with progress("loading weights", checkpoint.weight_bytes) as advance:
        return BaseRewardModel(checkpoint, name=name, device=device, dtype=dtype, progress=advance)
