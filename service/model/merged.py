"""Ragged attention on a CPU in few large calls: all queries below a stretch see it at once, and results are merged.

A softmax over some keys and one over others, weighted by their sums of exponentials, are the softmax over
both. Siblings' queries over their common context are then one call in place of one each, and no keys are copied.
"""

from dataclasses import dataclass
from itertools import groupby

import torch
from torch import Tensor

from service.model.attention import Attend, Segments, Span, agrees

_CLOSE = 1e-5


@dataclass(frozen=True, slots=True)
class Block:
    """Queries that see the same keys: all of them, or, where these are their own, those up to themselves."""

    queries: Span
    keys: Span
    causal: bool


def own_blocks(segments: Segments) -> list[Block]:
    """Each segment over the last stretch of its path."""
    found = []
    for queries, path in zip(segments.queries, segments.paths, strict=True):
        alone = queries[1] - queries[0] == 1  # at the end of its path: it sees all of it
        assert alone or queries == path[-1]
        found.append(Block(queries, path[-1], causal=not alone))
    return found


def shared_blocks(segments: Segments) -> list[Block]:
    """What comes before: for each stretch, neighbours below it at once."""
    found = []
    for level in range(max(map(len, segments.paths)) - 1):
        seen = [path[level] if level < len(path) - 1 else None for path in segments.paths]
        for keys, run in groupby(zip(seen, segments.queries, strict=True), lambda pair: pair[0]):
            if keys is not None:
                queries = [span for _, span in run]
                found.append(Block((queries[0][0], queries[-1][1]), keys, causal=False))
    return found


def plan_merged(segments: Segments) -> Attend:
    """Equal to `plan_sdpa`; for devices and types with which `merging_works()`."""
    own, shared = own_blocks(segments), shared_blocks(segments)

    def attend(query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        out = torch.empty_like(query)
        total = query.new_empty(query.shape[:3])  # the log of the sum of exponentials so far
        for block in own:
            here = slice(*block.queries)
            out[:, :, here], total[:, :, here] = _flash(block, query, key, value, scale)
        for block in shared:
            here = slice(*block.queries)
            more, its_total = _flash(block, query, key, value, scale)
            share = torch.sigmoid(its_total - total[:, :, here])
            out[:, :, here].lerp_(more, share.unsqueeze(-1))
            total[:, :, here] = torch.logaddexp(total[:, :, here], its_total)
        return out[0].transpose(0, 1)

    return attend


def _flash(
    block: Block, query: Tensor, key: Tensor, value: Tensor, scale: float
) -> tuple[Tensor, Tensor]:
    """[1, heads, queries, dim], and the logs of their sums of exponentials [1, heads, queries]."""
    here, there = slice(*block.queries), slice(*block.keys)
    out, total = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
        query[:, :, here], key[:, :, there], value[:, :, there], 0.0, block.causal, scale=scale
    )
    return out, total


def merging_works(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether there is the operator, which has no public name, and it gives what SDPA gives."""
    exact = dtype in (torch.float32, torch.float64)  # a narrow one would be rounded at each merge
    return device.type == "cpu" and exact and agrees(plan_merged, device, dtype, _CLOSE)
