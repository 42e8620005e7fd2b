"""Ragged attention equals one dense softmax, on every path there is; kernels are believed only after a comparison."""

from itertools import accumulate, pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from service.model import blocks, merged
from service.model.attention import Segments, plan_sdpa
from service.model.merged import Heads, find_merged, plan_batches
from service.model.varlen import read_signature

HEADS, KV_HEADS, DIM = 4, 2, 8
CPU = torch.device("cpu")
DOUBLE = Heads(HEADS // KV_HEADS, torch.float64)


@st.composite
def trees(draw):
    """Segments as the layout makes them: each one's path is its parent's and itself."""
    queries, paths, row = [], [], 0
    for i in range(draw(st.integers(1, 6))):
        length = draw(st.integers(1, 7) | st.sampled_from([33, 66]))
        parent = draw(st.integers(-1, i - 1))
        here = (row, row + length)
        queries.append(here)
        paths.append((*paths[parent], here) if parent >= 0 else (here,))
        row += length
    return Segments(tuple(queries), tuple(paths))


def tensors(rows):
    make = torch.Generator().manual_seed(rows)
    return [
        torch.randn(1, heads, rows, DIM, generator=make, dtype=torch.float64)
        for heads in (HEADS, KV_HEADS, KV_HEADS)
    ]


def dense(query, key, value, segments, scale):
    """The definition: every query row, its visible rows, one softmax."""
    out = torch.empty(query.shape[2], HEADS, DIM, dtype=query.dtype)
    for (start, stop), path in zip(segments.queries, segments.paths, strict=True):
        rows = [r for a, b in path for r in range(a, b)]
        for q in range(start, stop):
            seen = rows[: len(rows) - (stop - 1 - q)]
            for head in range(HEADS):
                kv = head * KV_HEADS // HEADS
                weights = torch.softmax(query[0, head, q] @ key[0, kv, seen].T * scale, -1)
                out[q, head] = weights @ value[0, kv, seen]
    return out


def plan_merged(segments):
    return merged.plan_merged(segments, DOUBLE)


@settings(deadline=None)
@given(trees(), st.sampled_from([lambda s: plan_sdpa(s, CPU), plan_merged]))
def test_a_cpu_plan_is_dense_attention(segments, plan):
    q, k, v = tensors(segments.queries[-1][1])
    ours = plan(segments)(q, k, v, 0.3)
    assert (ours - dense(q, k, v, segments, 0.3)).abs().max() < 1e-12
    assert segments.pairs() == sum(
        sum(b - a for a, b in path) - (stop - 1 - row)
        for (start, stop), path in zip(segments.queries, segments.paths, strict=True)
        for row in range(start, stop)
    )


@settings(deadline=None)
@given(trees(), st.data())
def test_so_is_a_merged_plan_of_pooled_tokens(segments, data):
    """One query each, in a row of their own; the stretch that one ends may go on for others."""
    paths = data.draw(st.lists(st.sampled_from(segments.paths), min_size=1))
    pooled = Segments(tuple((i, i + 1) for i in range(len(paths))), tuple(paths))
    _, k, v = tensors(segments.queries[-1][1])
    q = tensors(len(paths))[0]
    assert (plan_merged(pooled)(q, k, v, 0.3) - dense(q, k, v, pooled, 0.3)).abs().max() < 1e-12


@settings(deadline=None)
@given(trees(), st.integers(1, 12), st.integers(2, 30), st.integers(1, 20))
def test_so_it_is_however_a_path_is_cut(segments, few, long, rows):
    q, k, v = tensors(segments.queries[-1][1])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "_FEW", few)
        patch.setattr(blocks, "_LONG", long)
        patch.setattr(merged, "_ROWS", rows)
        ours = plan_merged(segments)(q, k, v, 0.3)
        pooled = Segments(tuple((i, i + 1) for i in range(len(segments.paths))), segments.paths)
        last = plan_merged(pooled)(some := q[:, :, : len(pooled.paths)], k, v, 0.3)
    assert (ours - plan_sdpa(segments, CPU)(q, k, v, 0.3)).abs().max() < 1e-12
    assert (last - plan_sdpa(pooled, CPU)(some, k, v, 0.3)).abs().max() < 1e-12


@pytest.mark.parametrize("lengths", [(700,), (14, 700), (600, 601), (1600, 90, 90, 530)])
def test_so_it_is_where_the_operator_takes_keys_in_several_blocks(lengths):
    """It takes 512 keys at once; some queries of a block with a mask see none of the last of them."""
    stops = list(accumulate(lengths))
    first, *others = pairwise([0, *stops])
    segments = Segments((first, *others), ((first,), *((first, here) for here in others)))
    q, k, v = tensors(stops[-1])
    ours = plan_merged(segments)(q, k, v, 0.3)
    assert (ours - plan_sdpa(segments, CPU)(q, k, v, 0.3)).abs().max() < 1e-12


def forest(contexts, siblings):
    """Each context, and below it the siblings, shorter by one token from context to context."""
    queries, paths, row = [], [], 0
    for i, length in enumerate(contexts):
        context = (row, row + length)
        stops = [row + length]
        for sibling in siblings:
            stops.append(stops[-1] + sibling - i)
        own = list(pairwise(stops))
        queries += [context, *own]
        paths += [(context,), *((context, here) for here in own)]
        row = stops[-1]
    return Segments(tuple(queries), tuple(paths))


@pytest.mark.parametrize(
    ("contexts", "siblings", "calls"),
    [
        ([70, 80, 90], [20, 32, 9, 30], 3),  # all contexts, all siblings, all of these over those
        ([70, 130], [20, 32], 5),  # padding to twice the length
        ([300, 300], [4, 5], 4),  # what is large alone
        ([20, 30, 31], [20, 32, 9, 30], 2),  # few tokens of context are seen with their own
    ],
)
def test_small_calls_of_about_one_size_are_made_together(contexts, siblings, calls):
    segments = forest(contexts, siblings)
    assert sum(map(len, plan_batches(segments, DOUBLE))) == calls
    q, k, v = tensors(segments.queries[-1][1])
    ours = plan_merged(segments)(q, k, v, 0.3)
    assert (ours - plan_sdpa(segments, CPU)(q, k, v, 0.3)).abs().max() < 1e-12


def test_equal_calls_have_one_mask():
    first, _ = plan_batches(forest([300, 300], [4, 5]), DOUBLE)
    one, other = (batch.mask for batch in first if batch.blocks == 1)
    assert one is other is not None


@pytest.mark.parametrize("extreme", [1e4, -1e4])
def test_merging_holds_where_one_part_has_all_the_weight(extreme):
    segments = Segments(((0, 3), (3, 6)), (((0, 3),), ((0, 3), (3, 6))))
    q, k, v = tensors(6)
    q, k = q.abs(), k.abs()
    k[:, :, :3] *= extreme
    ours = plan_merged(segments)(q, k, v, 0.3)
    assert (ours - dense(q, k, v, segments, 0.3)).abs().max() < 1e-12


def test_merging_is_left_out_where_it_does_not_work(monkeypatch):
    assert find_merged(CPU, torch.float32, 5)
    assert find_merged(CPU, torch.float64, 5)
    assert not find_merged(CPU, torch.bfloat16, 5)
    flash = merged._flash
    monkeypatch.setattr(merged, "_flash", lambda *args: (flash(*args)[0], 2 * flash(*args)[1]))
    assert not find_merged(CPU, torch.float32, 5)

    def missing(*_):
        raise AttributeError("'_OpNamespace' 'aten' object has no attribute '_scaled_dot_product'")

    monkeypatch.setattr(merged, "_flash", missing)
    assert not find_merged(CPU, torch.float32, 5)


def new_kernel(
    query, key, value, cu_seq_q, cu_seq_k, max_q, max_k, *, scale=None, window_size=(-1, -1),
    enable_gqa=False, num_splits=None,
):  # fmt: skip
    """The meaning of torch 2.13's `varlen_attn`, computed plainly."""
    assert enable_gqa or query.shape[1] == key.shape[1]
    assert num_splits == 1
    return _by_definition(query, key, value, cu_seq_q, cu_seq_k, (max_q, max_k), scale, window_size)


def old_kernel(query, key, value, cu_seq_q, cu_seq_k, max_q, max_k, is_causal=False, scale=None):
    assert query.shape[1] == key.shape[1], "takes no grouped heads"
    window = (-1, 0 if is_causal else -1)
    return _by_definition(query, key, value, cu_seq_q, cu_seq_k, (max_q, max_k), scale, window)


def _by_definition(query, key, value, starts_q, starts_k, longest, scale, window):
    assert starts_q.dtype == starts_k.dtype == torch.int32
    out = torch.empty_like(query)
    groups = query.shape[1] // key.shape[1]
    for i in range(len(starts_q) - 1):
        q = query[starts_q[i] : starts_q[i + 1]].transpose(0, 1)
        k, v = (
            x[starts_k[i] : starts_k[i + 1]].repeat_interleave(groups, 1).transpose(0, 1)
            for x in (key, value)
        )
        assert q.shape[1] <= longest[0]
        assert k.shape[1] <= longest[1]
        scores = q @ k.transpose(1, 2) * scale
        if window == (-1, 0):
            visible = torch.ones(scores.shape[1:], dtype=torch.bool).tril(k.shape[1] - q.shape[1])
            scores = scores.masked_fill(~visible, float("-inf"))
        out[starts_q[i] : starts_q[i + 1]] = (torch.softmax(scores, -1) @ v).transpose(0, 1)
    return out


@settings(deadline=None)
@given(trees(), st.sampled_from([new_kernel, old_kernel]))
def test_one_ragged_call_is_the_same(segments, kernel):
    q, k, v = tensors(segments.queries[-1][1])
    ours = read_signature(kernel).plan(segments, lambda x: x)(q, k, v, 0.3)
    assert (ours - plan_sdpa(segments, CPU)(q, k, v, 0.3)).abs().max() < 1e-12


def test_the_installed_kernel_is_understood():
    from torch.nn.attention.varlen import varlen_attn

    found = read_signature(varlen_attn)
    assert found is not None
    assert found.causal in ({"window_size": (-1, 0)}, {"is_causal": True})


@pytest.mark.parametrize(
    "kernel",
    [lambda q, k, v, cu_q, cu_k: None, lambda q, k, v, scale, page_table: None],
    ids=["no scale", "not causal"],
)
def test_a_kernel_of_another_kind_is_left_alone(kernel):
    assert read_signature(kernel) is None
