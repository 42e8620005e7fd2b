"""The padded step: one row a response, padded on the right. Slow, plain, and the reference for faster paths."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from service.core import Patches, Step
from service.model.head import RewardHead
from service.model.pixels import PixelShape, to_pixel_values
from service.model.positions import rope_positions


@dataclass(frozen=True, slots=True)
class Encoded:
    """An example's data: whole sequences that end at their pooled token, and the context's pictures."""

    sequences: tuple[NDArray[np.int32], ...]
    pictures: tuple[Patches, ...]  # in order of their picture tokens
    image_pad_id: int


@dataclass(frozen=True, slots=True)
class PaddedStep:
    """On the device. R rows, L the longest, P patches, V visual tokens of the distinct pictures."""

    ids: Tensor  # [R, L]
    mask: Tensor  # [R, L], 1 at tokens
    positions: Tensor  # [3, R, L]
    last: Tensor  # [R] index of the pooled token
    pixel_values: Tensor | None  # [P, 3 * temporal * patch²] float32
    grids: Tensor | None  # [pictures, 3]
    image_at: Tensor  # [picture tokens] flat index into [R * L]
    image_from: Tensor  # [picture tokens] index into [V]
    counts: tuple[int, ...]  # responses of each slice


def stage(step: Step, shape: PixelShape, pad_id: int, device: torch.device) -> PaddedStep:
    """Lay out a step; every distinct picture of it goes to the device once."""
    rows = [(part.example.data, r) for part in step for r in part.responses]
    sequences = [_encoded(data).sequences[r] for data, r in rows]
    longest = max(map(len, sequences))
    ids = np.full((len(rows), longest), pad_id, dtype=np.int64)
    mask = np.zeros((len(rows), longest), dtype=np.int64)
    positions = np.ones((3, len(rows), longest), dtype=np.int64)
    pictures, first_token = _distinct([_encoded(data) for data, _ in rows])
    image_at, image_from = [], []
    for row, (data, _) in enumerate(rows):
        sequence, encoded = sequences[row], _encoded(data)
        is_image = sequence == encoded.image_pad_id
        ids[row, : len(sequence)] = sequence
        mask[row, : len(sequence)] = 1
        positions[:, row, : len(sequence)] = rope_positions(
            is_image, merged(encoded.pictures, shape)
        )
        image_at.append(row * longest + np.flatnonzero(is_image))
        image_from += [np.arange(p.num_tokens) + first_token[id(p)] for p in encoded.pictures]
    grids = [[1, p.grid_h, p.grid_w] for p in pictures]
    return PaddedStep(
        ids=_on(ids, device),
        mask=_on(mask, device),
        positions=_on(positions, device),
        last=_on(np.array([len(s) - 1 for s in sequences]), device),
        pixel_values=to_pixel_values(pictures, shape, device) if pictures else None,
        grids=_on(np.array(grids), device) if pictures else None,
        image_at=_on(np.concatenate(image_at), device),
        image_from=_on(np.concatenate([np.empty(0, np.int64), *image_from]), device),
        counts=tuple(len(part.responses) for part in step),
    )


def merged(pictures: Sequence[Patches], shape: PixelShape) -> list[tuple[int, int]]:
    return [(p.grid_h // shape.merge, p.grid_w // shape.merge) for p in pictures]


@torch.inference_mode()
def score(step: PaddedStep, backbone: Any, head: RewardHead) -> list[list[float]]:
    """One forward pass: head outputs, slice by slice."""
    language_model, visual = backbone.language_model, backbone.visual
    embeds = language_model.embed_tokens(step.ids)  # [R, L, hidden]
    if step.pixel_values is not None:
        pixels = step.pixel_values.to(visual.dtype)
        features = visual(pixels, grid_thw=step.grids).pooler_output  # [V, hidden]
        flat = embeds.view(-1, embeds.shape[-1])
        flat[step.image_at] = features[step.image_from].to(embeds.dtype)
    hidden = language_model(
        inputs_embeds=embeds,
        attention_mask=step.mask,
        position_ids=step.positions,
        use_cache=False,
    ).last_hidden_state  # [R, L, hidden]
    rows = torch.arange(len(step.last), device=hidden.device)
    rewards = iter(head(hidden[rows, step.last]).tolist())
    return [[next(rewards) for _ in range(count)] for count in step.counts]


def _distinct(rows: Sequence[Encoded]) -> tuple[list[Patches], dict[int, int]]:
    """The distinct pictures of a step, and where each one's visual tokens start among all of them."""
    pictures: dict[int, Patches] = {id(p): p for encoded in rows for p in encoded.pictures}
    starts = np.cumsum([0, *(p.num_tokens for p in pictures.values())])
    return list(pictures.values()), dict(zip(pictures, map(int, starts), strict=False))


def _encoded(data: object) -> Encoded:
    assert isinstance(data, Encoded)
    return data


def _on(array: NDArray[np.int64], device: torch.device) -> Tensor:
    tensor = torch.from_numpy(array)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor
