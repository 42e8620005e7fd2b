"""Layers by rows and prepacked weights compute what the stock layers compute; what that rests on, one by one."""

import gc
import weakref

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from service.model import backbone as backbones
from service.model import linear
from service.model.by_rows import ByRows, alike
from service.model.kernels import speed_up
from service.model.linear import ROW_STEP, PrepackedLinear, joined, prepack, prepacked
from tests.model.scoring import load

CPU = torch.device("cpu")


@given(st.integers(0, 5000), st.integers(1, 10))
def test_parts_are_all_rows_once_and_about_equal(count, steps):
    most = steps * ROW_STEP
    parts = list(alike(count, most))
    rows = list(range(count))
    assert [row for part in parts for row in rows[part]] == rows
    sizes = [len(rows[part]) for part in parts]
    assert len(parts) == -(-count // most)
    assert all(size % ROW_STEP == 0 for size in sizes[:-1])  # few different numbers of rows
    assert all(0 < size <= most for size in sizes)
    assert not sizes or sizes[0] - count / len(sizes) < ROW_STEP


@torch.inference_mode()
@pytest.mark.parametrize("units", [1, 63, 64, 65, 200])
def test_a_module_by_rows_is_the_module(units):
    """One that makes a row of every four, as the merger of the tower does."""
    stock = nn.Sequential(nn.Unflatten(0, (-1, 4)), nn.Flatten(1), nn.Linear(24, 7))
    x = torch.randn(units * 4, 6)
    expected = stock(x)
    assert torch.allclose(ByRows(stock, ROW_STEP, 4)(x), expected, atol=1e-5)


@torch.inference_mode()
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("rows", [0, 1, 63, 64, 65, 100])
def test_a_prepacked_layer_is_the_stock_one(bias, rows):
    stock, x = nn.Linear(40, 24, bias=bias), torch.randn(rows, 40)
    before = x.clone()
    assert torch.allclose(PrepackedLinear(stock)(x), stock(x), atol=1e-5)
    assert torch.equal(x, before)


@torch.inference_mode()
@pytest.mark.parametrize("rows", [65, 128])
def test_a_row_that_is_not_a_number_changes_no_other(rows):
    """Nor does what a number of rows is filled up with."""
    layer = PrepackedLinear(nn.Linear(40, 24))
    x = torch.randn(rows, 40)
    clean, poisoned = layer(x), x.clone()
    poisoned[7], poisoned[-1] = torch.nan, torch.inf
    others = torch.ones(rows, dtype=torch.bool)
    others[[7, -1]] = False
    assert torch.equal(layer(poisoned)[others], clean[others])
    assert layer(poisoned)[7].isnan().all()  # and nothing hides it


@torch.inference_mode()
@pytest.mark.parametrize("bias", [True, False])
def test_joined_layers_stand_side_by_side(bias):
    parts, x = [nn.Linear(8, n, bias=bias) for n in (5, 3, 2)], torch.randn(7, 8)
    together = joined(*parts)(x)
    assert torch.allclose(together, torch.cat([part(x) for part in parts], -1), atol=1e-6)


def test_prepacking_reaches_every_layer_of_a_module():
    module = prepack(nn.Sequential(nn.Linear(4, 4), nn.SiLU(), nn.Sequential(nn.Linear(4, 2))))
    assert [type(m) for m in module.modules() if not list(m.children())] == [
        PrepackedLinear,
        nn.SiLU,
        PrepackedLinear,
    ]


def test_prepacking_is_left_out_where_it_does_not_work(monkeypatch):
    monkeypatch.setattr(linear, "_works", linear._works.__wrapped__)  # asked anew each time
    layer = nn.Linear(4, 4)
    assert isinstance(prepacked(layer), PrepackedLinear)
    assert prepacked(layer.double()) is layer
    forward = PrepackedLinear.forward

    def missing(*_):
        raise AttributeError("'_OpNamespace' 'mkldnn' object has no attribute '_linear_pointwise'")

    for broken in (missing, lambda self, x: 2 * forward(self, x)):
        monkeypatch.setattr(PrepackedLinear, "forward", broken)
        assert prepacked(layer.float()) is layer


def test_weights_stand_in_memory_once(make_checkpoint):
    """A 7B would not fit twice."""
    backbone = backbones.load(load(make_checkpoint()).checkpoint, torch.float32, CPU).backbone
    visual = backbone.visual
    layers = [*backbone.language_model.layers[:-1], *visual.blocks, visual.merger]
    stock = [weakref.ref(weight) for x in layers for weight in x.parameters() if weight.dim() == 2]
    speed_up(backbone, CPU)
    del layers
    gc.collect()
    assert stock
    assert not [weight for ref in stock if (weight := ref()) is not None]
