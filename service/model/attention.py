"""Ragged attention over a packed row: each stretch of queries sees the rows of its path, causally at its end."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

from service.errors import StartError

NAME = "basereward_packed"

Span = tuple[int, int]  # [start, stop) of rows
Path = tuple[Span, ...]  # in order of their tokens


@dataclass(frozen=True, slots=True)
class Segments:
    """Who sees whom. The last span of a path is the queries' own, or ends with its one query."""

    queries: tuple[Span, ...]  # in row order, without gaps
    paths: tuple[Path, ...]  # rows of the keys

    def pairs(self) -> int:
        """(query, key) pairs that are not masked."""
        total = 0
        for (start, stop), path in zip(self.queries, self.paths, strict=True):
            n, keys = stop - start, sum(b - a for a, b in path)
            total += n * (keys - n) + n * (n + 1) // 2
        return total


LayerRows = tuple[Tensor, Tensor]  # keys and values of some rows, [1, kv heads, rows, head dim]


@dataclass(slots=True)
class PrefixRows:
    """Keys and values from outside the row, and those of the row that are to be kept."""

    known: Sequence[Sequence[LayerRows]] = ()  # [prefix][layer]; they follow the row's own
    keep: tuple[Path, ...] = ()  # rows to copy out, prefix by prefix
    kept: list[list[LayerRows]] = field(default_factory=list)  # [layer][prefix]

    def extend(self, layer: int, key: Tensor, value: Tensor) -> LayerRows:
        if self.keep:
            copies = [(rows(key, path).clone(), rows(value, path).clone()) for path in self.keep]
            self.kept.append(copies)
        if not self.known:
            return key, value
        more = [prefix[layer] for prefix in self.known]
        return torch.cat((key, *(k for k, _ in more)), 2), torch.cat(
            (value, *(v for _, v in more)), 2
        )


# [1, heads, queries, dim], [1, kv heads, rows, dim] twice, scale → [queries, heads, dim]
Attend = Callable[[Tensor, Tensor, Tensor, float], Tensor]


@dataclass(frozen=True, slots=True)
class Packing:
    """What the attention of a packed step needs beside queries, keys and values."""

    attend: Attend
    prefixes: PrefixRows


def check_attention(config: Any, max_tokens: int) -> None:
    """
    Raises:
        StartError: some layers see only a window that is shorter than a sequence may be.
    """
    window = config.sliding_window or max_tokens
    if "sliding_attention" in config.layer_types and window < max_tokens:
        raise StartError(
            f"layers with sliding-window attention over {window} tokens are not served: "
            f"set max_tokens of the manifest to {window} or less"
        )


def install(language_model: Any) -> None:
    """Make a stock text model call `packed_attention` in every layer."""
    AttentionInterface.register(NAME, packed_attention)
    language_model.set_attn_implementation(NAME)


def packed_attention(  # noqa: PLR0913 - the signature is transformers'
    module: Any,
    query: Tensor,  # [1, heads, rows, head dim]
    key: Tensor,  # [1, kv heads, rows, head dim]
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float,
    packing: Packing,
    **_: Any,
) -> tuple[Tensor, None]:
    """An attention function as transformers' `AttentionInterface` calls it; [1, rows, heads, head dim]."""
    assert attention_mask is None, "a packed row has no mask"
    key, value = packing.prefixes.extend(module.layer_idx, key, value)
    return packing.attend(query, key, value, scaling)[None], None


def plan_sdpa(segments: Segments, device: torch.device) -> Attend:
    """One SDPA call a segment: where there is nothing faster."""
    masks: dict[tuple[int, int], Tensor | None] = {}
    for (start, stop), path in zip(segments.queries, segments.paths, strict=True):
        n, keys = stop - start, sum(b - a for a, b in path)
        if (n, keys) not in masks:
            masks[n, keys] = _lower_right(n, keys, device)

    def attend(query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        out = torch.empty_like(query)
        for (start, stop), path in zip(segments.queries, segments.paths, strict=True):
            k, v = rows(key, path), rows(value, path)
            n, keys = stop - start, k.shape[2]
            out[:, :, start:stop] = scaled_dot_product_attention(
                query[:, :, start:stop],
                k,
                v,
                attn_mask=masks[n, keys],
                is_causal=n == keys > 1,
                scale=scale,
                enable_gqa=True,
            )
        return out[0].transpose(0, 1)

    return attend


def agrees(
    plan: Callable[[Segments], Attend], device: torch.device, dtype: torch.dtype, tolerance: float
) -> bool:
    """Whether another plan gives, up to rounding, what `plan_sdpa` gives in float32; no, if it fails."""
    generator = torch.Generator(device).manual_seed(1)
    q, k, v = (
        torch.randn(1, heads, 700, 64, device=device, dtype=dtype, generator=generator)
        for heads in (4, 2, 2)
    )
    for segments in _PROBES:
        some = q[:, :, : segments.queries[-1][1]]
        try:
            other = plan(segments)(some, k, v, 0.125)
        except (AttributeError, RuntimeError, TypeError):
            return False
        reference = plan_sdpa(segments, device)(some.float(), k.float(), v.float(), 0.125)
        if not (other.float() - reference).abs().max() < tolerance:  # nor where either is NaN
            return False
    return True


_CONTEXT = (0, 80)
_PROBES = (
    Segments(
        (_CONTEXT, (80, 83), (83, 84)),
        ((_CONTEXT,), (_CONTEXT, (80, 83)), (_CONTEXT, (83, 84))),
    ),
    Segments(((0, 1), (1, 2)), ((_CONTEXT,), (_CONTEXT, (80, 83)))),  # pooled tokens alone
    Segments(((0, 700),), (((0, 700),),)),  # more keys than kernels take at once
)


def _lower_right(queries: int, keys: int, device: torch.device) -> Tensor | None:
    """Query i sees the keys up to its own place at the end; None where a flag of SDPA says as much."""
    if queries in (1, keys):
        return None
    mask = torch.ones(queries, keys, dtype=torch.bool, device=device)
    return mask.tril(keys - queries)


def rows(tensor: Tensor, path: Path) -> Tensor:
    parts = [tensor[:, :, start:stop] for start, stop in path]
    return parts[0] if len(parts) == 1 else torch.cat(parts, 2)
