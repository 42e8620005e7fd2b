"""Golden scores: examples of known reward that a loaded model must reproduce before it may serve."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from service.core import Example, Item, Picture, Raster, RewardModel, Slice
from service.errors import GoldenMismatch, InvalidRequest, StartError
from service.inputs.conversation import user_turn
from service.inputs.images import ImageLimits, decode_image
from service.model.checkpoint import Checkpoint, read_golden
from service.model.manifest import Golden

_MAX_PIXELS = 178_956_970  # the operator's own pictures; Pillow's bomb limit is enough


@dataclass(frozen=True, slots=True)
class GoldenResult:
    golden: Golden
    reward: float

    @property
    def difference(self) -> float:
        return abs(self.reward - self.golden.reward)


def check_golden(model: RewardModel, checkpoint: Checkpoint, beat: Callable[[], None]) -> float:
    """Reproduce every golden score; with none, run one forward pass as the warm-up: the largest difference.

    Raises:
        GoldenMismatch: names the worst of them; or the warm-up gives no finite number.
    """
    golden = checkpoint.manifest.golden
    if not golden:
        reward = _warm_up(model)
        if not math.isfinite(reward):
            raise GoldenMismatch(f"there are none, and the warm-up gives {reward}", math.nan)
        return 0.0
    results = []
    for known in golden:
        results += score_golden(model, [known], checkpoint.folder)
        beat()
    worst = max(results, key=_badness)
    if not worst.difference <= model.info.tolerance:  # NaN is a mismatch too
        index = golden.index(worst.golden)
        raise GoldenMismatch(
            f"golden[{index}] gives {worst.reward:.6g}, the manifest says {worst.golden.reward:.6g} "
            f"(tolerance {model.info.tolerance:g})",
            worst.difference,
        )
    return worst.difference


def _warm_up(model: RewardModel) -> float:
    """One pass with a picture, or without where the chat template shows none."""
    try:
        return _score_one(model, "warm-up", "warm-up", Raster(56, 56, bytes(3 * 56 * 56)))
    except InvalidRequest:
        return _score_one(model, "warm-up", "warm-up", None)


def score_golden(model: RewardModel, golden: Sequence[Golden], folder: Path) -> list[GoldenResult]:
    """One item at a time, so that nothing but the item itself can matter."""
    limits = ImageLimits(_MAX_PIXELS, model.info.apply_exif)
    results = []
    for known in golden:
        try:
            raster = decode_image(read_golden(folder, known.image), limits) if known.image else None
            reward = _score_one(model, known.prompt, known.response, raster)
        except InvalidRequest as error:
            shown = f"{known.prompt[:40]!r}, {known.response[:40]!r}"
            raise StartError(f"the example {shown} cannot be scored: {error.message}") from None
        results.append(GoldenResult(known, reward))
    return results


def _score_one(model: RewardModel, prompt: str, response: str, raster: Raster | None) -> float:
    patches = {Picture("golden", "golden"): model.patchify(raster)} if raster else {}
    turn = user_turn(prompt, list(patches), model.info.image_position)
    (example,) = model.encode([Item((turn,), (response,))], patches)
    if not isinstance(example, Example):
        raise example
    # A tenant that nobody else is, now or before: nothing that was kept may answer for the model.
    alone = f"golden {time.monotonic_ns()}"
    return model.score(model.stage((Slice(example, (0,), alone),)))[0][0]


def _badness(result: GoldenResult) -> float:
    return math.inf if math.isnan(result.difference) else result.difference
