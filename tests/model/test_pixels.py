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

from service.errors import InvalidRequest, StartError
from service.model.manifest import PixelRules
from service.model.pixels import PixelShape, normalise, patchify, read_shape, target_size
from service.model.processor import read_processor
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


@pytest.mark.parametrize("file", ["preprocessor_config.json", "processor_config.json"])
@pytest.mark.parametrize(
    "stated",
    [
        {"rescale_factor": 1 / 128},
        {"image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.3, 0.4], "rescale_factor": 0.01},
        {"image_mean": 0.5, "image_std": 0.25},
        {"size": {"shortest_edge": 20_000, "longest_edge": 40_000}},
        {"min_pixels": 784, "max_pixels": 7840, "size": {"shortest_edge": 1, "longest_edge": 2}},
        {"size": None, "do_convert_rgb": None},
    ],
)
def test_stated_values_are_the_stock_processors(tmp_path, noise, file, stated):
    """Read by transformers from the same folder: the same patches, whichever file states them."""
    kind = {"image_processor_type": "Qwen2VLImageProcessor"}
    values = stated | kind
    (tmp_path / file).write_text(
        json.dumps({"image_processor": values} if file.startswith("processor") else values)
    )
    stock = Qwen2VLImageProcessorPil.from_pretrained(tmp_path)(
        images=[noise(333, 190)], return_tensors="pt"
    )
    shape = read_shape(tmp_path, read_processor(tmp_path).rules(PixelRules()), {})
    ours = patchify(raster(noise(333, 190)), shape)
    assert [1, ours.grid_h, ours.grid_w] == stock["image_grid_thw"][0].tolist()
    one_frame = normalise(torch.from_numpy(ours.data), shape)
    values = one_frame.view(-1, 3, 1, 196).expand(-1, -1, 2, -1).reshape(len(one_frame), -1)
    assert (values - stock["pixel_values"]).abs().max() < 1e-5


def test_the_new_file_wins_and_a_contradiction_is_told(tmp_path):
    (tmp_path / "preprocessor_config.json").write_text(
        json.dumps({"max_pixels": 12_845_056, "image_mean": [0.5] * 3})
    )
    (tmp_path / "processor_config.json").write_text(
        json.dumps({"image_processor": {"size": {"shortest_edge": 784, "longest_edge": 7840}}})
    )
    processor = read_processor(tmp_path)
    assert (processor.min_pixels, processor.max_pixels, processor.mean) == (784, 7840, SHAPE.mean)
    assert [w.partition(" = ")[0] for w in processor.warnings] == [
        "processor_config.json: image_mean",
        "processor_config.json: min_pixels",
        "processor_config.json: max_pixels",
    ]
    assert "preprocessor_config.json says 12845056" in processor.warnings[-1]


def test_a_manifest_wins_and_is_told(tmp_path):
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"max_pixels": 12_845_056}))
    processor = read_processor(tmp_path)
    assert processor.contradictions(PixelRules()) == [
        "reward_manifest.json: pixels.max = 1003520 is used; preprocessor_config.json says 12845056"
    ]
    assert processor.contradictions(processor.rules(PixelRules())) == []


@pytest.mark.parametrize("size", [(7000, 30), (30, 7000), (201, 1)])
def test_beyond_200_to_1_is_refused_as_in_training(size):
    with pytest.raises(InvalidRequest, match="more than 200 times the other") as caught:
        target_size(*size, SHAPE)
    assert caught.value.code == "image_dimensions"
    assert target_size(6000, 30, SHAPE) == (5992, 28)


@pytest.mark.parametrize(
    "stated", [{"patch_size": 16}, {"do_normalize": False}, {"temporal_patch_size": 1}]
)
def test_a_processor_at_odds_with_the_backbone_is_refused(tmp_path, stated):
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(stated))
    vision = {"patch_size": 14, "temporal_patch_size": 2}
    with pytest.raises(StartError, match="preprocessor_config"):
        read_shape(tmp_path, PixelRules(), vision)
