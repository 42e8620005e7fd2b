"""The vision tower over many pictures at once gives each picture the features of the stock tower."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers.vision_utils import get_vision_window_index

from service.model.pixels import normalise
from service.model.vision import runs, window_order
from tests.model.double import DoublePair, without_float32
from tests.model.scoring import raster

SIZES = [(56, 56), (84, 140), (333, 90), (60, 200), (112, 112), (28, 28)]


@pytest.mark.parametrize("by_rows", [False, True])
@pytest.mark.parametrize("model_type", ["qwen2_5_vl", "qwen2_vl"])
def test_features_are_the_stock_towers(make_checkpoint, noise, model_type, by_rows):
    double = DoublePair(make_checkpoint(model_type=model_type), by_rows=by_rows)
    model = double.model
    pictures = [model.patchify(raster(noise(*size, i))) for i, size in enumerate(SIZES)]
    with torch.inference_mode(), without_float32():
        ours = double.tower.features(double.tower.plan(pictures)).split(
            [p.num_tokens for p in pictures]
        )
        for picture, features in zip(pictures, ours, strict=True):
            frame = normalise(torch.from_numpy(picture.data), model._shape).view(-1, 3, 1, 196)
            pixels = frame.expand(-1, -1, 2, -1).flatten(1).double()
            grid = torch.tensor([[1, picture.grid_h, picture.grid_w]])
            stock = double.stock.backbone.visual(pixels, grid_thw=grid).pooler_output
            assert (features - stock).abs().max() < 1e-12


@given(st.integers(1, 20), st.integers(1, 20), st.integers(1, 6))
def test_windows_are_the_stock_ones(h, w, side):
    order, lengths = window_order(h, w, side)
    grid = torch.tensor([[1, 2 * h, 2 * w]])
    stock_order, starts = get_vision_window_index(grid, 2, side * 28, 14)
    cuts = (starts // 4).tolist()
    stock = {frozenset(stock_order[a:b].tolist()) for a, b in pairwise(cuts)}
    row, ours = 0, set()
    for length in lengths:
        ours.add(frozenset(order[row : row + length].tolist()))
        row += length
    assert ours == stock
    assert sorted(order.tolist()) == list(range(h * w))


def test_equal_windows_are_one_batch():
    _, lengths = window_order(32, 32, 4)  # 1,024 tokens of the 7B
    assert runs(lengths) == [(0, 64, 16)]
    _, ragged = window_order(17, 23, 4)  # 391 tokens
    assert len(runs(ragged)) <= 4
    assert sum(count * length for _, count, length in runs(ragged)) == 17 * 23
