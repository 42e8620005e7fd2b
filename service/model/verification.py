"""Known rewards to compare a loaded model with: its golden scores, a reference file, or another checkpoint."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from service.core import ModelInfo
from service.errors import StartError
from service.model.checkpoint import Checkpoint, open_checkpoint
from service.model.golden import GoldenResult, score_golden
from service.model.manifest import Golden
from service.model.reward_model import BaseRewardModel

# For checkpoints without golden scores of their own: enough to tell two models apart.
_PROBES = tuple(
    Golden(prompt=prompt, response=response, reward=0.0)
    for prompt in ("What is the capital of France?", "Describe the picture.", "2 + 2 = ?")
    for response in ("Paris.", "\nA red circle above a blue square.", "4", "")
)


@dataclass(frozen=True, slots=True)
class KnownRewards:
    golden: Sequence[Golden]
    folder: Path  # that their pictures' paths start from
    origin: str


def known_rewards(
    checkpoint: Checkpoint, against: Path | None, device: str, dtype: str
) -> KnownRewards:
    """
    Raises:
        StartError: there is nothing to compare with, or it cannot be read.
    """
    if against is None:
        if not checkpoint.manifest.golden:
            raise StartError("the manifest has no golden scores; name something with --against")
        return KnownRewards(checkpoint.manifest.golden, checkpoint.folder, "golden scores")
    if against.is_dir():
        return _other_checkpoint(checkpoint, against, device, dtype)
    return KnownRewards(_read_reference(against), against.parent, against.name)


def _other_checkpoint(
    checkpoint: Checkpoint, against: Path, device: str, dtype: str
) -> KnownRewards:
    other = BaseRewardModel(open_checkpoint(against), device=device, dtype=dtype)
    items = checkpoint.manifest.golden or _PROBES
    scored = score_golden(other, items, checkpoint.folder)
    known = [result.golden.model_copy(update={"reward": result.reward}) for result in scored]
    return KnownRewards(known, checkpoint.folder, f"{against} ({other.info.fingerprint})")


def _read_reference(path: Path) -> list[Golden]:
    try:
        lines = path.read_text("utf-8").splitlines()
    except OSError as error:
        raise StartError(f"cannot read {path}: {error.strerror}") from None
    known = []
    for number, line in enumerate(lines, start=1):
        if line.strip():
            try:
                known.append(Golden.model_validate(json.loads(line)))
            except (ValidationError, ValueError):
                raise StartError(
                    f"{path.name}, line {number}: not {{prompt, image?, response, reward}}"
                ) from None
    if not known:
        raise StartError(f"{path.name} holds no rewards")
    return known


def report(
    info: ModelInfo, results: Sequence[GoldenResult], tolerance: float, origin: str
) -> tuple[list[str], bool]:
    """Lines to print, and whether every reward was reproduced."""
    good = [result.difference <= tolerance for result in results]  # NaN is not
    lines = [f"fingerprint {info.fingerprint}", f"numerics    {info.numerics}"]
    for result, ok in zip(results, good, strict=True):
        mark = "ok  " if ok else "FAIL"
        lines.append(
            f"{mark} {result.reward:>12.6f}  known {result.golden.reward:>12.6f}  "
            f"{result.golden.response[:60]!r}"
        )
    worst = max(result.difference for result in results)
    lines.append(
        f"{sum(good)} of {len(good)} agree with {origin} within {tolerance:g}; largest difference {worst:.3g}"
    )
    return lines, all(good)
