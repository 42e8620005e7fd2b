"""Pixels equal transformers' Qwen2VLImageProcessorPil to float rounding, for any size."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import (
    Qwen2VLImageProcessorPil,
    smart_resize,
)

from service.errors import StartError
from service.model.manifest import PixelRules
from service.model.pixels import PixelShape, normalise, patchify, read_shape, target_size
from tests.model.scoring import raster

SHAPE = PixelShape(3136, 1_003_520)
CPU = torch.device("cpu")


@given(
    width=st.integers(1, 40) | st.integers(1, 5000),
    height=st.integers(1, 40) | st.integers(1, 5000),
    cap=st.sampled_from([12544, 1_003_520]),
)
@settings(deadline=None)
def test_sizes_are_smart_resizes(width, height, cap):
    shape = dataclasses.replace(SHAPE, min_pixels=min(3136, cap), max_pixels=cap)
    ratio = max(width, height) / min(width, height)
    if ratio <= 200:
        height_first = smart_resize(height, width, 28, shape.min_pixels, cap)
        assert target_size(width, height, shape)[::-1] == height_first


@pytest.mark.parametrize(
    ("width", "height"),
    [
        *((112, 112), (28, 28), (640, 480), (333, 90), (29, 3000), (1400, 1100), (57, 85)),
        *(
            (1, 1),
            (1, 2),
            (3, 200),
            (200, 1),
            (13, 14),
            (14, 15),
            (16, 16),
            (27, 257),
            (332, 27),
            (20, 300),
        ),
    ],
)
def test_values_are_the_processors(noise, width, height):
    smooth = noise(8, 8).resize((width, height), Image.Resampling.BICUBIC)
    for image in (noise(width, height), smooth):
        processor = Qwen2VLImageProcessorPil(
            size={"shortest_edge": SHAPE.min_pixels, "longest_edge": SHAPE.max_pixels}
        )
        stock = processor(images=[image], return_tensors="pt")
        ours = patchify(raster(image), SHAPE)
        assert [1, ours.grid_h, ours.grid_w] == stock["image_grid_thw"][0].tolist()
        one_frame = normalise(torch.from_numpy(ours.data), SHAPE)
        values = one_frame.view(-1, 3, 1, 196).expand(-1, -1, 2, -1).reshape(len(one_frame), -1)
        assert values.shape == stock["pixel_values"].shape
        assert (values - stock["pixel_values"]).abs().max() < 1e-6


def test_patches_travel_as_uint8_once(noise):
    patches = patchify(raster(noise(640, 480)), SHAPE)
    assert patches.data.dtype == np.uint8
    assert patches.data.shape == (patches.grid_h * patches.grid_w, 588)
    assert patches.num_tokens == patches.grid_h * patches.grid_w // 4


def test_the_shape_is_read_from_the_folder(tmp_path):
    vision = {"patch_size": 14, "spatial_merge_size": 2, "temporal_patch_size": 2}
    assert read_shape(tmp_path, PixelRules(), vision).mean == SHAPE.mean
    stated = {"image_mean": [0.5] * 3, "image_std": [0.25] * 3, "patch_size": 14, "merge_size": 2}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(stated))
    shape = read_shape(tmp_path, PixelRules(min=784, max=7840), vision)
    assert (shape.mean, shape.std, shape.max_pixels) == ((0.5,) * 3, (0.25,) * 3, 7840)


@pytest.mark.parametrize(
    "stated", [{"patch_size": 16}, {"do_normalize": False}, {"temporal_patch_size": 1}]
)
def test_a_processor_at_odds_with_the_backbone_is_refused(tmp_path, stated):
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(stated))
    vision = {"patch_size": 14, "temporal_patch_size": 2}
    with pytest.raises(StartError, match="preprocessor_config"):
        read_shape(tmp_path, PixelRules(), vision)
