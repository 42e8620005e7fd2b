"""What scoring costs by arithmetic, for any Qwen2.5-VL config; nothing here is measured.

Two FLOPs a multiply-add; norms, softmax, rotary, embeddings and the head are left out. Causal attention counts
its (query, key) pairs. `necessary` is what remains when siblings share their context, each picture is encoded once,
its two equal frames are folded, and the last layer works for the rewarded positions only.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Shape:
    """The sizes that decide the cost."""

    hidden: int
    layers: int
    heads: int
    kv_heads: int
    inner: int
    vision_depth: int
    vision_hidden: int
    vision_inner: int
    window_patches: int  # a window's side
    full_layers: int  # vision layers that see the whole picture

    @property
    def head_dim(self) -> int:
        return self.hidden // self.heads


@dataclass(frozen=True, slots=True)
class Group:
    """Sequences with a common start; `grid_side` is the side in patches of their square picture, or 0."""

    prefix: int  # tokens all of them share
    lengths: tuple[int, ...]  # whole sequences
    grid_side: int = 0


def shape_of(config: dict[str, Any]) -> Shape:
    """From a flat or nested `config.json`."""
    text, vision = config.get("text_config", config), config["vision_config"]
    return Shape(
        hidden=text["hidden_size"],
        layers=text["num_hidden_layers"],
        heads=text["num_attention_heads"],
        kv_heads=text["num_key_value_heads"],
        inner=text["intermediate_size"],
        vision_depth=vision["depth"],
        vision_hidden=vision["hidden_size"],
        vision_inner=vision["intermediate_size"],
        window_patches=vision["window_size"] // vision["patch_size"],
        full_layers=len(vision["fullatt_block_indexes"]),
    )


# The language model


def kv_weights(s: Shape) -> int:
    """Of one layer: the key and value projections."""
    return 2 * s.hidden * s.kv_heads * s.head_dim


def rest_weights(s: Shape) -> int:
    """Of one layer: query and output projections, and the MLP."""
    return 2 * s.hidden * s.hidden + 3 * s.hidden * s.inner


def flops_per_token(s: Shape) -> int:
    return 2 * s.layers * (kv_weights(s) + rest_weights(s))


def flops_per_pair(s: Shape) -> int:
    """Of all layers; Q·K and weights·V."""
    return 4 * s.hidden * s.layers


def sequence(s: Shape, length: int) -> int:
    """One sequence alone, every layer whole, as a stock forward computes it."""
    return flops_per_token(s) * length + flops_per_pair(s) * length * (length + 1) // 2


def shared(s: Shape, group: Group) -> int:
    """A group with its prefix computed once, last layer pruned to the rewarded positions."""
    suffixes = [length - group.prefix for length in group.lengths]
    tokens = group.prefix + sum(suffixes)
    pairs = group.prefix * (group.prefix + 1) // 2
    pairs += sum(r * group.prefix + r * (r + 1) // 2 for r in suffixes)
    whole = (flops_per_token(s) * tokens + flops_per_pair(s) * pairs) * (s.layers - 1) // s.layers
    last = 2 * (kv_weights(s) * tokens + rest_weights(s) * len(group.lengths))
    return whole + last + flops_per_pair(s) // s.layers * sum(group.lengths)


# The vision tower


def vision(s: Shape, grid_side: int, *, folded: bool = False) -> int:
    """One square picture of grid_side x grid_side patches, merger included."""
    patches, width = grid_side * grid_side, s.vision_hidden
    linear = s.vision_depth * (4 * width * width + 3 * width * s.vision_inner)
    linear += 3 * 14 * 14 * (1 if folded else 2) * width
    merged = 4 * width
    merger = patches // 4 * (merged * merged + merged * s.hidden)
    pairs = s.full_layers * patches * patches
    pairs += (s.vision_depth - s.full_layers) * _window_pairs(grid_side, s.window_patches)
    return 2 * patches * linear + 2 * merger + 4 * width * pairs


def _window_pairs(grid_side: int, window: int) -> int:
    """Windows are cut from one corner; those at the far edges are smaller."""
    sides = [min(window, grid_side - start) for start in range(0, grid_side, window)]
    return sum((a * b) ** 2 for a in sides for b in sides)


# Traffic


def naive(s: Shape, groups: Iterable[Group]) -> int:
    """Every response by itself, with its own picture; no padding."""
    return sum(
        sequence(s, length) + (vision(s, group.grid_side) if group.grid_side else 0)
        for group in groups
        for length in group.lengths
    )


def necessary(s: Shape, groups: Iterable[Group]) -> int:
    return sum(
        shared(s, group) + (vision(s, group.grid_side, folded=True) if group.grid_side else 0)
        for group in groups
    )


def sharing_ratio(s: Shape, groups: Sequence[Group]) -> float:
    """How many times less there is to compute than naively."""
    return naive(s, groups) / necessary(s, groups)


def tokens(groups: Iterable[Group]) -> tuple[int, int]:
    """Language-model tokens: naive, and with every prefix once."""
    groups = list(groups)
    every = sum(sum(g.lengths) for g in groups)
    return every, every - sum(g.prefix * (len(g.lengths) - 1) for g in groups)
