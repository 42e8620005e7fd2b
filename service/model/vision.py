"""The vision tower over all pictures of a step at once, with the stock modules and weights.

The stock forward calls attention once a window (1,796 times for a 1,024-token picture of the 7B); here
equal windows are one batch. Qwen2-VL's tower is the same without windows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers.models.qwen2_vl import modeling_qwen2_vl

from service.core import Patches
from service.model.by_rows import AttendRows, ByRows, LayerByRows, Rope
from service.model.linear import as_linear
from service.model.pixels import PixelShape, normalise
from service.model.transfer import Transfer
from service.model.varlen import Ragged, Varlen


@dataclass(frozen=True, slots=True)
class VisionPlan:
    """Some pictures, ready on the device. P patches, in V units of merge² patches."""

    pixels: Tensor  # [P, 3 * patch²] uint8
    order: Tensor  # [V] units so that every window's stand together
    undo: Tensor  # [V]
    positions: Tensor  # [P, 2] row and column, in that order
    windows: AttendRows
    whole: AttendRows
    tokens: tuple[int, ...]  # visual tokens of each picture


class Embedding(nn.Module):
    """Patches in bytes, as the tower takes them: a still picture's frames are equal, so their weights are summed."""

    def __init__(self, weight: Tensor, shape: PixelShape) -> None:
        """weight: [width, 3, temporal, patch, patch] of the stock convolution over both frames."""
        super().__init__()
        self._shape = shape
        self._precision = torch.promote_types(weight.dtype, torch.float32)
        self.linear = as_linear(weight.to(self._precision).sum(2).flatten(1))

    def forward(self, pixels: Tensor) -> Tensor:
        """uint8 [P, 3 * patch²] to [P, width], in float32 at least."""
        embedded: Tensor = self.linear(normalise(pixels, self._shape, self._precision))
        return embedded


class VisionTower:
    def __init__(
        self, visual: Any, shape: PixelShape, varlen: Varlen | None, transfer: Transfer
    ) -> None:
        self._visual = visual
        self._shape = shape
        self._varlen = varlen
        self._transfer = transfer
        embed = Embedding(visual.patch_embed.proj.weight, shape)
        self._embed = ByRows(embed) if transfer.device.type == "cpu" else embed
        side = getattr(visual.config, "window_size", 0) // shape.factor  # units
        self._side = side or None  # Qwen2-VL: no windows
        whole = range(len(visual.blocks)) if side == 0 else visual.fullatt_block_indexes
        self._whole = frozenset(whole)

    def plan(self, pictures: Sequence[Patches]) -> VisionPlan:
        """Lay out pictures and bring their pixels to the device."""
        order, window_units, first = [], [], 0
        for picture in pictures:
            units, lengths = window_order(*self._units(picture), self._side)
            order.append(units + first)
            window_units += lengths
            first += picture.num_tokens
        on, indices = self._transfer.to_device, np.concatenate(order)
        unit = self._shape.merge**2
        positions = np.concatenate([patch_positions(p, self._shape.merge) for p in pictures])
        ordered = positions.reshape(-1, unit, 2)[indices].reshape(-1, 2)
        patches = [p.num_tokens * unit for p in pictures]
        stacked = np.concatenate([np.asarray(p.data) for p in pictures])
        return VisionPlan(
            pixels=on(torch.from_numpy(stacked)),
            order=on(torch.from_numpy(indices)),
            undo=on(torch.from_numpy(np.argsort(indices))),
            positions=on(torch.from_numpy(ordered)),
            windows=self._within([n * unit for n in window_units]),
            whole=self._within(patches),
            tokens=tuple(p.num_tokens for p in pictures),
        )

    def features(self, plan: VisionPlan) -> Tensor:
        """Visual tokens of all pictures, picture by picture: [V, hidden of the language model]."""
        visual, unit = self._visual, self._shape.merge**2
        x = self._embed(plan.pixels).to(visual.dtype)  # [P, width]
        x = x.view(len(plan.order), unit, -1)[plan.order].flatten(0, 1)
        rope = visual.rotary_pos_emb(x, plan.positions)
        for i, block in enumerate(visual.blocks):
            run = block if isinstance(block, LayerByRows) else partial(_stock_block, block)
            x = run(x, rope, plan.whole if i in self._whole else plan.windows)
        features: Tensor = visual.merger(x)[plan.undo]
        return features

    def _units(self, picture: Patches) -> tuple[int, int]:
        return picture.grid_h // self._shape.merge, picture.grid_w // self._shape.merge

    def _within(self, lengths: Sequence[int]) -> AttendRows:
        if self._varlen is None:
            return _attend_in_runs(runs(lengths))
        varlen, ragged = self._varlen, Ragged.of(lengths, lengths, self._transfer.to_device)

        def attend(q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
            return varlen.call(q, k, v, scale, ragged, causal=False)

        return attend


def _stock_block(block: Any, x: Tensor, rope: Rope, attend: AttendRows) -> Tensor:
    module = block.attn
    qkv = module.qkv(block.norm1(x)).view(len(x), 3, module.num_heads, -1)
    q, k, v = qkv.unbind(1)  # [P, heads, dim]
    q, k = modeling_qwen2_vl.apply_rotary_pos_emb_vision(q, k, *rope)
    x = x + module.proj(attend(q, k, v, module.scaling).reshape(len(x), -1))
    out: Tensor = x + block.mlp(block.norm2(x))
    return out


def runs(lengths: Sequence[int]) -> list[tuple[int, int, int]]:
    """Neighbours of equal length as one batch: (first row, how many, length)."""
    found, row = [], 0
    for length, equal in groupby(lengths):
        count = len(list(equal))
        found.append((row, count, length))
        row += count * length
    return found


def _attend_in_runs(batches: Sequence[tuple[int, int, int]]) -> AttendRows:
    def attend(q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
        parts = []
        for row, count, length in batches:
            query, key, value = (
                x[row : row + count * length].view(count, length, *x.shape[1:]).transpose(1, 2)
                for x in (q, k, v)
            )
            out = scaled_dot_product_attention(query, key, value, scale=scale)
            parts.append(out.transpose(1, 2).flatten(0, 1))
        return torch.cat(parts)

    return attend


def window_order(h: int, w: int, side: int | None) -> tuple[NDArray[np.int64], list[int]]:
    """Units of a picture of h x w so that each window's stand together, equal windows side by side.

    Args:
        h: rows of units.
        w: columns of units.
        side: of a full window, in units; windows at the right and lower edge are what is left. None: one
            window, the whole picture.

    Returns:
        The units' indices, and the windows' lengths, in that order.
    """
    rows, columns = np.divmod(np.arange(h * w), w)
    side = side or max(h, w)
    window = rows // side * -(-w // side) + columns // side
    sizes = np.bincount(window)
    order = np.lexsort((window, sizes[window]))
    return order, np.sort(sizes).tolist()


def patch_positions(picture: Patches, merge: int) -> NDArray[np.int64]:
    """(row, column) of each patch, in the order `patchify` gives them: [patches, 2]."""
    rows, columns = np.divmod(np.arange(picture.grid_h * picture.grid_w), picture.grid_w)
    both = np.stack((rows, columns), -1)
    shape = (picture.grid_h // merge, merge, picture.grid_w // merge, merge, 2)
    return both.reshape(shape).transpose(0, 2, 1, 3, 4).reshape(-1, 2)
