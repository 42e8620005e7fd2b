"""The reward head: linear layers with an activation between them, in float32 whatever the backbone runs in."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from service.model.manifest import Activation

_ACTIVATIONS: dict[Activation, Callable[[Tensor], Tensor]] = {
    "silu": nn.functional.silu,
    "relu": nn.functional.relu,
    "tanh": torch.tanh,
    "none": lambda x: x,
}


class RewardHead(nn.Module):
    """[rows, hidden] to [rows]. bf16 would tie near scores: its steps are 0.06 wide above 8."""

    def __init__(
        self, widths: Sequence[int], biases: Sequence[bool], activation: Activation
    ) -> None:
        """Args:
        widths: inputs of the first layer, then outputs of each; the last is 1.
        biases: whether each layer has one.
        """
        super().__init__()
        shapes = zip(widths, widths[1:], biases, strict=False)
        self.layers = nn.ModuleList(
            nn.Linear(i, o, bias=bias, dtype=torch.float32) for i, o, bias in shapes
        )
        self._activation = _ACTIVATIONS[activation]

    def forward(self, pooled: Tensor) -> Tensor:
        x = pooled.to(next(self.parameters()).dtype)  # [rows, hidden]
        for layer in self.layers[:-1]:
            x = self._activation(layer(x))
        rewards: Tensor = self.layers[-1](x)[:, 0]  # [rows]
        return rewards
