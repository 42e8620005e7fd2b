"""Faster ways through stock modules, with their weights: MLPs in place, on a CPU whole layers by rows."""

from typing import Any

import torch
from torch import Tensor, nn
from transformers.activations import SiLUActivation

from service.model.by_rows import ROWS, ByRows, DecoderByRows, block_by_rows

EXACT = (torch.float32, torch.float64)  # a narrow type is rounded where the stock layers round it


class GatedMLP(nn.Module):
    """down(silu(gate(x)) * up(x)) in place: its inner width is several times the model's."""

    def __init__(self, mlp: Any) -> None:
        super().__init__()
        self.gate_proj, self.up_proj, self.down_proj = mlp.gate_proj, mlp.up_proj, mlp.down_proj

    def forward(self, x: Tensor) -> Tensor:
        inner = nn.functional.silu(self.gate_proj(x), inplace=True).mul_(self.up_proj(x))
        out: Tensor = self.down_proj(inner)
        return out


def speed_up(backbone: Any, device: torch.device, rows: int = ROWS) -> None:
    """Replace modules of a loaded backbone, in place, by faster ones that compute the same."""
    decoder, tower = backbone.language_model.layers, backbone.visual.blocks
    for layer in [*decoder, *tower]:
        if hasattr(layer.mlp, "gate_proj") and isinstance(
            layer.mlp.act_fn, SiLUActivation | nn.SiLU
        ):
            layer.mlp = GatedMLP(layer.mlp)
    if device.type == "cpu" and backbone.dtype in EXACT:
        for i, layer in enumerate(decoder[:-1]):  # the last one is computed for pooled tokens alone
            decoder[i] = DecoderByRows(layer, rows)
        for i, block in enumerate(tower):
            tower[i] = block_by_rows(block, rows)
        unit = backbone.visual.spatial_merge_size**2
        backbone.visual.merger = ByRows(backbone.visual.merger, rows, unit)
