"""Ragged attention on a CPU in few calls, each over a part of what its queries see; results are merged.

A softmax over some keys and one over others, weighted by their sums of exponentials, are the softmax over
both. Siblings' queries over their common context are then one call in place of one each, and no keys of it are
copied for each. All heads that share keys are rows of one product. Calls too small to be worth one each are made
together, padded to one length.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from itertools import chain

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from service.model.attention import Attend, Path, Segments, Span, agrees
from service.model.blocks import Block, batched, in_pieces, own_blocks, shared_blocks, tokens

_CLOSE = 1e-5
_ROWS = 800  # of a call with a mask, one a query and head: fewer are slow, of more more is masked

Rows = slice | Tensor
Mask = Callable[[bool, tuple[tuple[int, int], ...]], Tensor | None]


@dataclass(frozen=True, slots=True)
class Heads:
    """Of the model."""

    sharing: int  # query heads to a head of keys
    dtype: torch.dtype


@dataclass(frozen=True, slots=True)
class Batch:
    """Blocks of about one size in one call. Padding, right of the shorter ones, is their last row again."""

    blocks: int
    queries: Rows  # of block after block
    keys: Rows
    mask: Tensor | None  # [blocks or 1, 1, queries * sharing or 1, keys], 0 or -inf
    to: Rows  # of the queries; those of padding go to a row of their own, after all others


def plan_batches(segments: Segments, heads: Heads) -> tuple[list[Batch], list[Batch]]:
    """What every row sees first, each in one of the batches; and all else that is to be seen.

    No batch has a row of queries twice, so that each may be merged in one write. Without an operator of torch:
    it runs beside a step, in a thread that must not come to have helpers (`in_own_thread` of the app says why).
    """
    spare, segments = segments.queries[-1][1], in_pieces(segments)
    batch = partial(_batch, spare=spare, mask=cache(partial(_mask, heads)))  # equal ones have one
    own = own_blocks(segments, max(_ROWS // heads.sharing, 1))
    levels = range(max(map(len, segments.paths)) - 1)
    shared = (batched(shared_blocks(segments, level)) for level in levels)
    return list(map(batch, batched(own))), list(map(batch, chain.from_iterable(shared)))


def _batch(blocks: Sequence[Block], spare: int, mask: Mask) -> Batch:
    first = blocks[0]
    unseen = mask(first.causal, tuple((block.num_queries, block.num_keys) for block in blocks))
    if len(blocks) == 1:
        here = slice(*first.queries)
        return Batch(1, here, _rows(first.keys), unseen, here)
    queries, padding = _padded([(block.queries,) for block in blocks])
    keys, _ = _padded([block.keys for block in blocks])
    to = np.where(padding, spare, queries)
    return Batch(len(blocks), _flat(queries), _flat(keys), unseen, _flat(to))


def _mask(heads: Heads, causal: bool, sizes: tuple[tuple[int, int], ...]) -> Tensor | None:
    """Hides from a query the keys after it, and padding. sizes: queries and keys of each block."""
    lengths, keys = np.array(sizes).T
    first, queries = (keys - lengths, lengths.max()) if causal else (keys - 1, 1)
    last = first[:, None] + np.arange(queries)  # the key that each query sees last
    if (last == last[0]).all():
        last = last[:1]
    unseen = np.arange(keys.max()) > last[..., None]
    if not unseen.any():
        return None
    dtype = np.float64 if heads.dtype == torch.float64 else np.float32
    mask = np.where(unseen, -np.inf, 0).astype(dtype)
    return torch.from_numpy(mask.repeat(heads.sharing if causal else 1, 1)[:, None])


def _padded(paths: Sequence[Path]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Their rows, and which are padding: [paths, longest] each."""
    lengths = np.array([[tokens(path)] for path in paths])
    starts = lengths.cumsum(0) - lengths
    at = np.arange(lengths.max())
    return _indices(chain.from_iterable(paths))[starts + np.minimum(at, lengths - 1)], at >= lengths


def _rows(path: Path) -> Rows:
    return slice(*path[0]) if len(path) == 1 else _flat(_indices(path))


def _indices(spans: Iterable[Span]) -> NDArray[np.int64]:
    return np.concatenate([np.arange(*span) for span in spans])


def _flat(indices: NDArray[np.int64]) -> Tensor:
    return torch.from_numpy(indices.ravel())


def plan_merged(segments: Segments, heads: Heads) -> Attend:
    """Equal to `plan_sdpa`; where `find_merged()` finds that it is."""
    (first, others), rows = plan_batches(segments, heads), segments.queries[-1][1]

    def attend(query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        k, v = (x[0].transpose(0, 1) for x in (key, value))  # [rows, kv heads, dim]
        q = query[0].transpose(0, 1)
        q = q.view(len(q), k.shape[1], -1, q.shape[-1])  # [rows, kv heads, sharing, dim]
        out = q.new_empty(rows + 1, *q.shape[1:])
        total = q.new_empty(out.shape[:3])  # the logs of the sums of exponentials so far
        for batch in first:
            out[batch.to], total[batch.to] = _flash(q, k, v, batch, scale)
        for batch in others:
            _merge(out, total, batch.to, *_flash(q, k, v, batch, scale))
        return out[:rows].flatten(1, 2)

    return attend


def _merge(out: Tensor, total: Tensor, to: Rows, more: Tensor, its_total: Tensor) -> None:
    seen, so_far = out[to], total[to]
    seen.lerp_(more, torch.sigmoid(its_total - so_far).unsqueeze(-1))
    total[to] = torch.logaddexp(so_far, its_total)
    if isinstance(to, Tensor):  # what it selects is a copy
        out[to] = seen


def _flash(
    query: Tensor, key: Tensor, value: Tensor, batch: Batch, scale: float
) -> tuple[Tensor, Tensor]:
    """Of all rows: [queries, kv heads, sharing, dim], and the logs of their sums of exponentials."""
    blocks, (_, kv_heads, sharing, dim) = batch.blocks, query.shape
    q = query[batch.queries].view(blocks, -1, kv_heads, sharing, dim).transpose(1, 2)
    k, v = (
        x.reshape(blocks, -1, kv_heads, dim).transpose(1, 2)
        for x in (key[batch.keys], value[batch.keys])
    )
    out, total = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu.default(
        q.flatten(2, 3), k, v, 0.0, attn_mask=batch.mask, scale=scale
    )
    return _by_query(out, sharing), _by_query(total, sharing)


def _by_query(x: Tensor, sharing: int) -> Tensor:
    """[blocks, kv heads, queries * sharing, …] to [blocks * queries, kv heads, sharing, …]."""
    return x.view(*x.shape[:2], -1, sharing, *x.shape[3:]).transpose(1, 2).flatten(0, 1)


def find_merged(
    device: torch.device, dtype: torch.dtype, sharing: int
) -> Callable[[Segments], Attend] | None:
    """`plan_merged`, if there is the operator, which has no public name, and it gives what SDPA gives."""
    if device.type != "cpu" or dtype not in (torch.float32, torch.float64):
        return None  # a narrow type would be rounded at each merge
    probe = partial(plan_merged, heads=Heads(2, dtype))
    if not agrees(probe, device, dtype, _CLOSE):
        return None
    return partial(plan_merged, heads=Heads(sharing, dtype))
