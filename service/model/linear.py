"""Linear layers on a CPU with their weights laid out once, as oneDNN's products want them, not once a call."""

from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

ROW_STEP = 64  # oneDNN keeps a kernel for every number of rows it meets, 0.3 MB each: there must not be many


class PrepackedLinear(nn.Module):
    """[rows, inputs] to [rows, outputs]. For batches of rows with a bound: see `ROW_STEP`."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self._weight = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach())
        self._bias = linear.bias

    def forward(self, x: Tensor) -> Tensor:
        count, missing = len(x), -len(x) % ROW_STEP
        padded = nn.functional.pad(x, (0, 0, 0, missing)) if missing else x  # 0 rows would copy it
        out: Tensor = torch.ops.mkldnn._linear_pointwise(
            padded, self._weight, self._bias, "none", [], ""
        )
        return out[:count]


def as_linear(weight: Tensor, bias: Tensor | None = None) -> nn.Linear:
    """weight: [outputs, inputs]."""
    outputs, inputs = weight.shape
    made = nn.Linear(inputs, outputs, bias=bias is not None, device="meta")
    made.weight = nn.Parameter(weight.detach(), requires_grad=False)
    if bias is not None:
        made.bias = nn.Parameter(bias.detach(), requires_grad=False)
    return made


def joined(*linears: nn.Linear) -> nn.Linear:
    """Their outputs side by side, for one input."""
    weight = torch.cat(tuple(part.weight for part in linears))
    biases = tuple(part.bias for part in linears)
    return as_linear(weight, None if biases[0] is None else torch.cat(biases))


def prepacked(linear: nn.Linear) -> nn.Module:
    """The same, faster where it can be."""
    return PrepackedLinear(linear) if _works(linear.weight.device, linear.weight.dtype) else linear


def prepack(module: Any) -> Any:
    """A module with all linear layers in it prepacked, in place."""
    for name, child in module.named_children():
        setattr(module, name, prepacked(child) if isinstance(child, nn.Linear) else prepack(child))
    return module


@cache
def _works(device: torch.device, dtype: torch.dtype) -> bool:
    """These operators have no public name: they are used where they are there and give what `linear` gives."""
    if device.type != "cpu" or dtype != torch.float32:
        return False
    stock, x = nn.Linear(48, 80), torch.randn(5, 48)
    with torch.inference_mode():
        try:
            fast = PrepackedLinear(stock)(x)
        except (AttributeError, RuntimeError, TypeError):
            return False
        return torch.allclose(fast, stock(x), atol=1e-5)
