"""Ragged attention on a CPU in few calls: all queries below a stretch see it at once, and results are merged.

A softmax over some keys and one over others, weighted by their sums of exponentials, are the softmax over
both. Siblings' queries over their common context are then one call in place of one each, and no keys of it are
copied. Calls too small to be worth one each are made together, padded to one length.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
from torch import Tensor

from service.model.attention import Attend, Segments, Span, agrees

_CLOSE = 1e-5
_SHORT = 32  # tokens; padding up to here costs nothing
_SMALL = 2**14  # pairs of queries and keys that take no longer than a call does by itself
_PADDED_SMALL, _PADDED = 2.0, 1.25  # the longest of a batch, in lengths of its shortest

Rows = slice | Tensor


@dataclass(frozen=True, slots=True)
class Block:
    """Queries that see the same keys: all of them, or, where these are their own, those up to themselves."""

    queries: Span
    keys: Span
    causal: bool


@dataclass(frozen=True, slots=True)
class Batch:
    """Blocks of about one size in one call. Padding, right of the shorter ones, is their last row again."""

    blocks: int
    causal: bool
    queries: Rows  # of block after block
    keys: Rows
    unseen: Tensor | None  # [blocks, 1, 1, keys] padding, unless causal queries see none anyway
    to: Rows  # of the queries; those of padding go to a row of their own, after all others


def own_blocks(segments: Segments) -> list[Block]:
    """Each segment over the last stretch of its path."""
    found = []
    for queries, path in zip(segments.queries, segments.paths, strict=True):
        alone = _length(queries) == 1  # at the end of its path: it sees all of it
        assert alone or queries == path[-1]
        found.append(Block(queries, path[-1], causal=not alone))
    return found


def shared_blocks(segments: Segments, level: int) -> list[Block]:
    """What comes before: for each stretch at this place of its paths, neighbours below it at once."""
    found = []
    seen = [path[level] if level < len(path) - 1 else None for path in segments.paths]
    for keys, run in groupby(zip(seen, segments.queries, strict=True), lambda pair: pair[0]):
        if keys is not None:
            queries = [span for _, span in run]
            found.append(Block((queries[0][0], queries[-1][1]), keys, causal=False))
    return found


def plan_batches(segments: Segments) -> tuple[list[Batch], list[Batch]]:
    """What every row sees first, each in one of the batches; and all else that is to be seen.

    No batch has a row of queries twice, so that each may be merged in one write.
    """
    levels = range(max(map(len, segments.paths)) - 1)
    shared = [shared_blocks(segments, level) for level in levels]
    spare = segments.queries[-1][1]
    return _batches([own_blocks(segments)], spare), _batches(shared, spare)


def _batches(passes: Sequence[Sequence[Block]], spare: int) -> list[Batch]:
    return [_batch(blocks, spare) for some in passes for blocks in by_size(some)]


def by_size(blocks: Sequence[Block]) -> list[list[Block]]:
    sizes: dict[tuple[bool, float, int, int], list[Block]] = {}
    for block in blocks:
        queries, keys = _length(block.queries), _length(block.keys)
        padded = _PADDED_SMALL if queries * keys <= _SMALL else _PADDED
        size = block.causal, padded, _step(queries, padded), _step(keys, padded)
        sizes.setdefault(size, []).append(block)
    return list(sizes.values())


def _length(span: Span) -> int:
    return span[1] - span[0]


def _step(length: int, padded: float) -> int:
    return math.ceil(math.log(max(length, _SHORT) / _SHORT, padded))


def _batch(blocks: Sequence[Block], spare: int) -> Batch:
    first = blocks[0]
    if len(blocks) == 1:
        here = slice(*first.queries)
        return Batch(1, first.causal, here, slice(*first.keys), None, here)
    queries, padding = _padded([block.queries for block in blocks])
    keys, unseen = _padded([block.keys for block in blocks])
    return Batch(
        len(blocks),
        first.causal,
        queries.flatten(),
        keys.flatten(),
        unseen[:, None, None] if unseen.any() and not first.causal else None,
        queries.masked_fill(padding, spare).flatten(),
    )


def _padded(spans: Sequence[Span]) -> tuple[Tensor, Tensor]:
    """Their rows, and which are padding: [spans, longest] each."""
    starts, stops = torch.tensor(spans).unsqueeze(2).unbind(1)
    rows = starts + torch.arange(max(map(_length, spans)))
    return torch.minimum(rows, stops - 1), rows >= stops


def plan_merged(segments: Segments) -> Attend:
    """Equal to `plan_sdpa`; for devices and types with which `merging_works()`."""
    (first, others), rows = plan_batches(segments), segments.queries[-1][1]

    def attend(query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        q, k, v = (x[0].transpose(0, 1) for x in (query, key, value))  # [rows, heads, dim]
        out = q.new_empty(rows + 1, *q.shape[1:])
        total = q.new_empty(out.shape[:2])  # the logs of the sums of exponentials so far
        for batch in first:
            out[batch.to], total[batch.to] = _flash(q, k, v, batch, scale)
        for batch in others:
            to, (more, its_total) = batch.to, _flash(q, k, v, batch, scale)
            share = torch.sigmoid(its_total - total[to]).unsqueeze(-1)
            out[to] = torch.lerp(out[to], more, share)
            total[to] = torch.logaddexp(total[to], its_total)
        return out[:rows]

    return attend


def _flash(
    query: Tensor, key: Tensor, value: Tensor, batch: Batch, scale: float
) -> tuple[Tensor, Tensor]:
    """Of all rows, [rows, heads, dim] each: [queries, heads, dim], and the logs of their sums of exponentials."""
    mask = None
    if batch.unseen is not None:
        mask = query.new_zeros(batch.unseen.shape).masked_fill_(batch.unseen, -math.inf)
    at = batch.keys
    q, k, v = (
        x.reshape(batch.blocks, -1, *x.shape[1:]).transpose(1, 2)
        for x in (query[batch.queries], key[at], value[at])
    )
    out, total = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu.default(
        q, k, v, 0.0, batch.causal, attn_mask=mask, scale=scale
    )
    return out.transpose(1, 2).flatten(0, 1), total.transpose(1, 2).flatten(0, 1)


def merging_works(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether there is the operator, which has no public name, and it gives what SDPA gives."""
    exact = dtype in (torch.float32, torch.float64)  # a narrow one would be rounded at each merge
    return device.type == "cpu" and exact and agrees(plan_merged, device, dtype, _CLOSE)
