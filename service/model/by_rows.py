"""Layers of a backbone on a CPU, some rows at a time: what they make of those stays in its caches.

A stock layer sends every one of its products over all rows to memory and back, into blocks that the system has
to clear anew each time.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from service.model.attention import Packing
from service.model.linear import ROW_STEP, joined, prepack, prepacked

ROWS = 768  # a matrix product needs some hundreds to be fast

Rope = tuple[Tensor, Tensor]  # cosines and sines, [n, head dim] each

# queries [n, heads, dim], keys and values [n, kv heads, dim], scale → [n, heads, dim]
AttendRows = Callable[[Tensor, Tensor, Tensor, float], Tensor]


@dataclass(frozen=True, slots=True)
class Parts:
    """What a decoder layer and a vision block are made of, under one set of names."""

    before_attention: nn.Module
    qkv: nn.Linear
    heads: int
    kv_heads: int
    head_dim: int
    scaling: float
    out: nn.Linear
    before_mlp: nn.Module
    mlp: nn.Module


class LayerByRows(nn.Module):
    """Attention and MLP, each after a norm and added to its input."""

    def __init__(self, parts: Parts, rows: int = ROWS) -> None:
        super().__init__()
        self._heads = (parts.heads, parts.kv_heads)
        self._head_dim, self._scaling, self._rows = parts.head_dim, parts.scaling, rows
        self.before_attention, self.before_mlp = parts.before_attention, parts.before_mlp
        self.qkv, self.out = prepacked(parts.qkv), prepacked(parts.out)
        self.mlp = prepack(parts.mlp)

    def forward(self, x: Tensor, rope: Rope, attend: AttendRows) -> Tensor:
        """x: [n, width], which is changed in place."""
        seen = attend(*self._project(x, rope), self._scaling).flatten(1)
        for rows in self._some(x):
            some = x[rows]
            some += self.out(seen[rows])
            some += self.mlp(self.before_mlp(some))
        return x

    def _project(self, x: Tensor, rope: Rope) -> tuple[Tensor, Tensor, Tensor]:
        heads, kv_heads = self._heads
        turned = x.new_empty(len(x), heads + kv_heads, self._head_dim)
        value = x.new_empty(len(x), kv_heads, self._head_dim)
        cos, sin = (part.unsqueeze(1).to(x.dtype) for part in rope)
        for rows in self._some(x):
            qkv = self.qkv(self.before_attention(x[rows])).unflatten(1, (-1, self._head_dim))
            rotate(qkv[:, :-kv_heads], cos[rows], sin[rows], turned[rows])
            value[rows] = qkv[:, -kv_heads:]
        return turned[:, :heads], turned[:, heads:], value

    def _some(self, x: Tensor) -> Iterator[slice]:
        return alike(len(x), self._rows)


class DecoderByRows(nn.Module):
    """In the place of a stock decoder layer."""

    def __init__(self, layer: Any, rows: int = ROWS) -> None:
        super().__init__()
        attention = layer.self_attn
        parts = Parts(
            before_attention=layer.input_layernorm,
            qkv=joined(attention.q_proj, attention.k_proj, attention.v_proj),
            heads=attention.num_heads,
            kv_heads=attention.num_key_value_heads,
            head_dim=attention.head_dim,
            scaling=attention.scaling,
            out=attention.o_proj,
            before_mlp=layer.post_attention_layernorm,
            mlp=layer.mlp,
        )
        self._index = attention.layer_idx
        self._layer = LayerByRows(parts, rows)

    def forward(self, hidden: Tensor, *, position_embeddings: Rope, packing: Packing) -> Tensor:
        """hidden: [1, L, hidden], which is changed in place; the rope has a leading 1 likewise."""

        def attend(query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
            query, key, value = (x.transpose(0, 1)[None] for x in (query, key, value))
            key, value = packing.prefixes.extend(self._index, key, value)
            return packing.attend(query, key, value, scale)

        cos, sin = position_embeddings
        self._layer(hidden[0], (cos[0], sin[0]), attend)
        return hidden


def block_by_rows(block: Any, rows: int = ROWS) -> LayerByRows:
    """In the place of a block of the vision tower."""
    attention = block.attn
    parts = Parts(
        before_attention=block.norm1,
        qkv=attention.qkv,
        heads=attention.num_heads,
        kv_heads=attention.num_heads,
        head_dim=attention.head_dim,
        scaling=attention.scaling,
        out=attention.proj,
        before_mlp=block.norm2,
        mlp=block.mlp,
    )
    return LayerByRows(parts, rows)


class ByRows(nn.Module):
    """Around a module that makes a row of each `unit` rows, whatever the others are."""

    def __init__(self, module: nn.Module, rows: int = ROWS, unit: int = 1) -> None:
        super().__init__()
        self._module, self._rows, self._unit = prepack(module), rows, unit

    def forward(self, x: Tensor) -> Tensor:
        """x: [n * unit, …] to [n, …]."""
        parts = alike(len(x) // self._unit, self._rows)
        return torch.cat(
            [self._module(x[p.start * self._unit : p.stop * self._unit]) for p in parts]
        )


def alike(count: int, most: int) -> Iterator[slice]:
    """Rows in parts of at most `most`, about equal: a product of a few would be padded, and slow."""
    parts = -(-count // most)
    size = -(-count // (parts * ROW_STEP)) * ROW_STEP if parts else 0
    for start in range(0, count, size or 1):
        yield slice(start, start + size)


def rotate(x: Tensor, cos: Tensor, sin: Tensor, out: Tensor) -> None:
    """Rotary embedding of the two halves of [n, heads, dim], into `out`."""
    half = x.shape[-1] // 2
    torch.mul(x, cos, out=out)
    out[..., :half].addcmul_(x[..., half:], sin[..., :half], value=-1)
    out[..., half:].addcmul_(x[..., :half], sin[..., half:])
