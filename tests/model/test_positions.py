"""Our integer positions are those of transformers' own rope index, for any mix of text and pictures."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import Qwen2_5_VLModel

from service.model.backbone import build
from service.model.positions import rope_positions

text = st.integers(1, 12)
grid = st.tuples(st.integers(1, 9), st.integers(1, 9))


@pytest.fixture(scope="module")
def stock(make_checkpoint):
    import json

    config = json.loads((make_checkpoint() / "config.json").read_text())
    model = build(config, torch.float32, "meta")
    assert isinstance(model, Qwen2_5_VLModel)
    return model


@given(start=text, pictures=st.lists(st.tuples(grid, text), max_size=4))
@settings(deadline=None, max_examples=60)
def test_positions_equal_get_rope_index(stock, start, pictures):
    kinds = [0] * start
    for (h, w), after in pictures:
        kinds += [1] * (h * w) + [0] * after
    kinds_tensor = torch.tensor([kinds])
    ids = torch.where(kinds_tensor == 1, stock.config.image_token_id, 5)
    grids = torch.tensor([[1, 2 * h, 2 * w] for (h, w), _ in pictures]) if pictures else None
    expected, _ = stock.get_rope_index(
        ids,
        mm_token_type_ids=kinds_tensor,
        image_grid_thw=grids,
        attention_mask=torch.ones_like(ids),
    )
    ours = rope_positions(np.array(kinds) == 1, [g for g, _ in pictures])
    assert ours.tolist() == expected[:, 0].tolist()
