"""Against the numbers worked out by hand for Qwen2.5-VL-7B."""

import pytest

from benchmarks.flops import (
    Group,
    Shape,
    flops_per_pair,
    flops_per_token,
    naive,
    necessary,
    sharing_ratio,
    tokens,
    vision,
)

SEVEN_B = Shape(
    hidden=3584,
    layers=28,
    heads=28,
    kv_heads=4,
    inner=18944,
    vision_depth=32,
    vision_hidden=1280,
    vision_inner=3420,
    window_patches=8,
    full_layers=4,
)
PREFIX, RESPONSE = 1124, 300  # 1024 picture tokens and 100 of prompt


def group(size: int) -> list[Group]:
    return [Group(PREFIX, (PREFIX + RESPONSE,) * size, grid_side=64)]


def test_a_token_costs_what_the_linear_layers_cost():
    assert flops_per_token(SEVEN_B) / 1e9 == pytest.approx(13.05, abs=0.005)
    assert flops_per_pair(SEVEN_B) == 401_408


def test_a_picture_of_1024_tokens():
    assert vision(SEVEN_B, 64) / 1e12 == pytest.approx(5.645, abs=0.001)


def test_windows_at_the_edge_are_smaller():
    """A picture of 8 + 2 patches a side is cut into windows of 64, 16, 16 and 4 patches."""
    shape = Shape(8, 1, 1, 1, 1, 1, 1, 1, window_patches=8, full_layers=0)
    whole = Shape(8, 1, 1, 1, 1, 1, 1, 1, window_patches=8, full_layers=1)
    assert vision(whole, 10) - vision(shape, 10) == 4 * (100**2 - 64**2 - 2 * 16**2 - 4**2)


@pytest.mark.parametrize(("size", "tera", "pruned"), [(8, 197, 51.5), (16, 394, 83.0)])
def test_a_group_naive_and_shared(size, tera, pruned):
    assert naive(SEVEN_B, group(size)) / 1e12 == pytest.approx(tera, rel=0.002)
    assert necessary(SEVEN_B, group(size)) / 1e12 == pytest.approx(pruned, rel=0.003)


@pytest.mark.parametrize(("size", "ratio"), [(8, 3.8), (16, 4.8), (64, 5.8)])
def test_what_sharing_allows(size, ratio):
    assert sharing_ratio(SEVEN_B, group(size)) == pytest.approx(ratio, abs=0.06)


def test_a_text_of_600_tokens_alone_saves_only_the_last_layer():
    text = [Group(599, (600,))]
    assert naive(SEVEN_B, text) / 1e12 == pytest.approx(7.90, abs=0.01)
    assert necessary(SEVEN_B, text) / 1e12 == pytest.approx(7.63, abs=0.01)


def test_tokens_of_a_group_count_the_prefix_once():
    assert tokens(group(8)) == (8 * 1424, 1124 + 8 * 300)
