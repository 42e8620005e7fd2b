"""The faster modules compute what the stock ones compute, and are left out where they cannot."""

import pytest
import torch
from torch import nn
from transformers.activations import SiLUActivation

from service.model import kernels
from service.model.kernels import GatedMLP, PackedLinear


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
@pytest.mark.parametrize("rows", [1, 3, 7, 100])
@pytest.mark.parametrize("shape", [(7, 12), (1, 7, 12)])
def test_the_mlp_by_parts_is_the_stock_one(bias, rows, shape):
    stock, x = StockMLP(bias), torch.randn(shape)
    before = x.clone()
    assert torch.allclose(GatedMLP(stock, rows)(x), stock(x), atol=1e-6)
    assert torch.equal(x, before)  # its input is the residual of what follows


@torch.inference_mode()
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("rows", [4, 64, 100])
@pytest.mark.parametrize("shape", [(1, 12), (5, 12), (64, 12), (2, 150, 12)])
def test_a_packed_linear_is_the_stock_one(bias, rows, shape):
    stock, x = nn.Linear(12, 20, bias=bias), torch.randn(shape)
    assert torch.allclose(PackedLinear(stock, rows)(x), stock(x), atol=1e-6)


@torch.inference_mode()
def test_nan_in_a_row_stays_in_that_row():
    stock, x = nn.Linear(12, 20), torch.randn(7, 12)
    x[3] = float("nan")
    assert PackedLinear(stock, 4)(x).isnan().any(1).tolist() == [i == 3 for i in range(7)]


def test_packing_is_used_where_it_was_seen_to_work(monkeypatch):
    assert kernels._packing_works()
    monkeypatch.setattr(PackedLinear, "forward", lambda self, x: torch.zeros(2, 5, 64))
    assert not kernels._packing_works()


def test_packing_is_left_out_where_torch_has_no_such_operator(monkeypatch):
    def missing(self, linear, rows):
        raise AttributeError("mkldnn has no attribute '_reorder_linear_weight'")

    monkeypatch.setattr(PackedLinear, "__init__", missing)
    assert not kernels._packing_works()
