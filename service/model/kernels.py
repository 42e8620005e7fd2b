"""Faster ways through stock modules, with their weights: linear layers packed for a CPU, MLPs in place."""

from typing import Any

import torch
from torch import Tensor, nn
from transformers.activations import SiLUActivation

MLP_ROWS = 1024  # whose inner activations stay in a CPU's cache
ROW_STEP = 64  # rows of a packed product come in multiples of this
MOST_WARMED = 10_000_000  # weights of a layer; above, it would cost the start seconds
_PROBE = (64, 48, 5)  # outputs, inputs, rows


class PackedLinear(nn.Module):
    """A linear layer whose weight lies as oneDNN wants it; packed once, not once a call."""

    def __init__(self, linear: nn.Linear, rows: int) -> None:
        super().__init__()
        weight = linear.weight.detach()
        self._rows = rows
        self._inputs = linear.in_features
        self.weights = weight.numel()
        self._packed = torch.ops.mkldnn._reorder_linear_weight(weight, rows)
        self._bias = linear.bias

    def forward(self, x: Tensor) -> Tensor:
        flat = x.reshape(-1, x.shape[-1])
        parts = [self._some(part) for part in torch.split(flat, self._rows)]
        out = parts[0] if len(parts) == 1 else torch.cat(parts)
        return out.view(*x.shape[:-1], -1)

    def warm_up(self) -> None:
        """Meet every number of rows now, not while somebody waits."""
        for rows in range(ROW_STEP, self._rows + 1, ROW_STEP):
            self._some(torch.zeros(rows, self._inputs))

    def _some(self, x: Tensor) -> Tensor:
        """OneDNN keeps a kernel for every number of rows it has met: there must not be many of them."""
        count, missing = len(x), -len(x) % ROW_STEP
        padded = nn.functional.pad(x, (0, 0, 0, missing)) if missing else x  # 0 rows would copy it
        out: Tensor = torch.ops.mkldnn._linear_pointwise(
            padded, self._packed, self._bias, "none", [], ""
        )
        return out[:count]


class GatedMLP(nn.Module):
    """down(silu(gate(x)) * up(x)) some rows at a time and in place: its inner width is several times the model's."""

    def __init__(self, mlp: Any, rows: int) -> None:
        super().__init__()
        self.gate_proj, self.up_proj, self.down_proj = mlp.gate_proj, mlp.up_proj, mlp.down_proj
        self._rows = rows

    def forward(self, x: Tensor) -> Tensor:
        parts = [self._some(part) for part in torch.split(x, self._rows, -2)]
        return parts[0] if len(parts) == 1 else torch.cat(parts, -2)

    def _some(self, x: Tensor) -> Tensor:
        inner = nn.functional.silu(self.gate_proj(x), inplace=True).mul_(self.up_proj(x))
        out: Tensor = self.down_proj(inner)
        return out


def speed_up(backbone: Any, device: torch.device) -> None:
    """Replace modules of a loaded backbone, in place, by faster ones that compute the same."""
    on_cpu = device.type == "cpu"
    for layer in [*backbone.language_model.layers, *backbone.visual.blocks]:
        if hasattr(layer.mlp, "gate_proj") and isinstance(
            layer.mlp.act_fn, SiLUActivation | nn.SiLU
        ):
            layer.mlp = GatedMLP(layer.mlp, MLP_ROWS if on_cpu else 1 << 20)
    if on_cpu and backbone.dtype == torch.float32 and _packing_works():
        for part in (backbone.language_model.layers, backbone.visual.blocks):
            _pack(part)
            _warm_up(part[0])  # kernels go by shape: one layer's serve them all


def _pack(module: nn.Module) -> None:
    for name, child in module.named_children():
        if isinstance(child, nn.Linear):
            setattr(module, name, PackedLinear(child, MLP_ROWS))
        else:
            _pack(child)


@torch.inference_mode()
def _warm_up(layer: nn.Module) -> None:
    packed = [module for module in layer.modules() if isinstance(module, PackedLinear)]
    if sum(module.weights for module in packed) <= MOST_WARMED:
        for module in packed:
            module.warm_up()


def _packing_works() -> bool:
    """These operators have no public name: they are used where they are there and give what `linear` gives."""
    outputs, inputs, rows = _PROBE
    linear, x = nn.Linear(inputs, outputs), torch.randn(2, rows, inputs)
    with torch.inference_mode():
        try:
            packed = PackedLinear(linear, rows)(x)
        except (AttributeError, RuntimeError, TypeError):
            return False
        return torch.allclose(packed, linear(x), atol=1e-5)
