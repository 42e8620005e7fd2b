"""Vision: the stock tower's weights run over a batch of equally large pictures at once."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import (
    Qwen2_5_VisionTransformerPretrainedModel,
    apply_rotary_pos_emb_vision,
)
from transformers.vision_utils import get_vision_position_ids

from training.pictures import MERGE, UNIT


def same_window(
    tower: Qwen2_5_VisionTransformerPretrainedModel, rows: int, columns: int
) -> torch.Tensor:
    """Say which patches share a window, as a mask [patches, patches].

    The stock tower sorts patches by window and loops over windows; attention does not care about
    order, so a mask over the unsorted patches gives the same numbers without the loop.
    """
    side = tower.window_size // UNIT
    row = torch.arange(rows // MERGE)[:, None] // side
    column = torch.arange(columns // MERGE)[None, :] // side
    window = (row * columns + column).flatten().repeat_interleave(MERGE * MERGE)  # [patches]
    return window[:, None] == window[None, :]


def attend(
    layer: nn.Module,
    hidden: torch.Tensor,
    rope: tuple[torch.Tensor, torch.Tensor],
    mask: torch.Tensor | None,
) -> torch.Tensor:
    """Run one attention layer over [pictures, patches, width]."""
    pictures, count, width = hidden.shape
    qkv = layer.qkv(hidden).view(pictures, count, 3, layer.num_heads, -1)
    query, key, value = qkv.unbind(2)  # each [pictures, patches, heads, head width]
    query, key = apply_rotary_pos_emb_vision(query, key, *rope)
    mixed = functional.scaled_dot_product_attention(
        query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2), attn_mask=mask
    )
    return layer.proj(mixed.transpose(1, 2).reshape(pictures, count, width))


def encode(
    tower: Qwen2_5_VisionTransformerPretrainedModel, patches: torch.Tensor, rows: int, columns: int
) -> torch.Tensor:
    """Turn patches [pictures, rows * columns, 1176] into features [pictures, cells, hidden]."""
    grid = torch.tensor([[1, rows, columns]])
    # Kernel and stride of the patch convolution are equal, so it is a plain matrix product.
    hidden = functional.linear(patches, tower.patch_embed.proj.weight.flatten(1))
    rope = tower.rotary_pos_emb(hidden, get_vision_position_ids(grid, MERGE))
    windows = same_window(tower, rows, columns)
    for index, block in enumerate(tower.blocks):
        mask = None if index in tower.fullatt_block_indexes else windows
        hidden = hidden + attend(block.attn, block.norm1(hidden), rope, mask)
        hidden = hidden + block.mlp(block.norm2(hidden))
    return tower.merger(hidden).view(len(patches), -1, tower.config.out_hidden_size)
