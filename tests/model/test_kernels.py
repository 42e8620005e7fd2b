"""The faster modules compute what the stock ones compute."""

import pytest
import torch
from torch import nn
from transformers.activations import SiLUActivation

from service.model.kernels import GatedMLP


class StockMLP(nn.Module):
    def __init__(self, bias: bool) -> None:
        super().__init__()
        self.gate_proj, self.up_proj = nn.Linear(12, 40, bias=bias), nn.Linear(12, 40, bias=bias)
        self.down_proj = nn.Linear(40, 12, bias=bias)
        self.act_fn = SiLUActivation()

    def forward(self, x):
        return self.down_proj(self.act_fn(self.gate_proj(x)) * self.up_proj(x))


@torch.inference_mode()
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(7, 12), (1, 7, 12)])
def test_the_mlp_in_place_is_the_stock_one(bias, shape):
    stock, x = StockMLP(bias), torch.randn(shape)
    before = x.clone()
    assert torch.allclose(GatedMLP(stock)(x), stock(x), atol=1e-6)
    assert torch.equal(x, before)  # its input is the residual of what follows
