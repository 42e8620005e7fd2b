"""The packed row: every token that a step computes, once, with its position, its picture and who sees it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from service.core import Patches
from service.model.attention import Path, Segments, Span
from service.model.banks import Key
from service.model.courtesy import courteous
from service.model.layout import Stretch, Tree, grow, place
from service.model.member import Member, View, Views
from service.model.pixels import PixelShape


@dataclass(frozen=True, slots=True)
class Row:
    """L tokens to compute; the rows of known contexts follow them, from L on."""

    ids: NDArray[np.int64]  # [L]
    positions: NDArray[np.int64]  # [3, L]
    pictures: dict[Key, Patches]  # those with tokens in the row
    image_at: NDArray[np.int64]  # rows that are picture tokens
    image_from: NDArray[np.int64]  # which token, counted over all of `pictures`
    segments: Segments
    pooled: (
        Segments  # one query each, in a row of their own: the last tokens of the distinct sequences
    )
    paths: list[Path]  # member → all of its rows
    answers: list[int]  # member → which of the pooled
    computed: list[int]  # member → tokens that are computed on its account


def build_row(members: Sequence[Member], known: Mapping[Key, int], shape: PixelShape) -> Row:
    """Lay members out so that what they have in common is computed once; nothing across tenants.

    Args:
        members: the responses.
        known: contexts whose keys and values there are already, and their tokens.
        shape: the checkpoint's pixels.
    """
    looks = Views(shape)
    views = [looks.of(member) for member in courteous(members)]
    contexts = {key: Stretch(None, 0, tokens, -1) for key, tokens in known.items()}
    trees, indices = [], []
    by_tenant = sorted(range(len(members)), key=lambda i: members[i].tenant)
    for _, own in groupby(by_tenant, key=lambda i: members[i].tenant):
        index = list(own)
        roots = [contexts.get(members[i].context) for i in index]
        trees.append(grow([views[i].keyed for i in index], roots))
        indices.append(index)
    length = place(trees)
    row = length
    for stretch in contexts.values():
        stretch.row = row
        row += stretch.length
    return _assemble(members, views, trees, indices, length)


def _assemble(
    members: Sequence[Member],
    views: Sequence[View],
    trees: Sequence[Tree],
    indices: Sequence[list[int]],
    length: int,
) -> Row:
    ids, positions = np.empty(length, np.int64), np.empty((3, length), np.int64)
    picture, within = np.empty(length, np.int64), np.empty(length, np.int64)
    computed = [0] * len(members)
    for stretch, owner in courteous(_owned(trees, indices)):
        for at, part, there in views[owner].within(stretch.start, stretch.stop):
            here = slice(stretch.row + at.start, stretch.row + at.stop)
            ids[here] = part.ids[there]
            positions[:, here] = part.positions[:, there]
            picture[here], within[here] = part.picture[there], part.within[there]
        computed[owner] += stretch.length
    image_at = np.flatnonzero(picture >= 0)
    pictures, starts = _shown(picture[image_at], views)
    pooled, answers = _pooled(trees, indices, len(members))
    stretches = [s for tree in trees for s in tree.stretches]
    return Row(
        ids=ids,
        positions=positions,
        pictures=pictures,
        image_at=image_at,
        image_from=starts[picture[image_at]] + within[image_at],
        segments=Segments(
            tuple((s.row, s.row + s.length) for s in stretches),
            tuple(spans(s) for s in stretches),
        ),
        pooled=pooled,
        paths=[pooled.paths[answer] for answer in answers],
        answers=answers,
        computed=computed,
    )


def _shown(
    numbers: NDArray[np.int64], views: Sequence[View]
) -> tuple[dict[Key, Patches], NDArray[np.int64]]:
    """The pictures with tokens in the row, and by number where each one's features start."""
    used = list(dict.fromkeys(numbers.tolist()))
    known: dict[int, tuple[Key, Patches]] = {}
    for view in views:
        known |= view.patches
    pictures = [known[number] for number in used]
    starts = np.zeros(max(used, default=0) + 1, np.int64)
    starts[used] = np.cumsum([0, *(p.num_tokens for _, p in pictures)])[:-1]
    return dict(pictures), starts


def _owned(trees: Sequence[Tree], indices: Sequence[list[int]]) -> Iterator[tuple[Stretch, int]]:
    for tree, index in zip(trees, indices, strict=True):
        for stretch in tree.stretches:
            yield stretch, index[stretch.owner]


def _pooled(
    trees: Sequence[Tree], indices: Sequence[list[int]], count: int
) -> tuple[Segments, list[int]]:
    ends: dict[int, Stretch] = {}
    answers = [0] * count
    order: dict[int, int] = {}
    for tree, index in zip(trees, indices, strict=True):
        for sequence, stretch in tree.ends.items():
            ends[id(stretch)] = stretch
            answers[index[sequence]] = order.setdefault(id(stretch), len(order))
    queries = tuple((i, i + 1) for i in range(len(ends)))
    return Segments(queries, tuple(map(spans, ends.values()))), answers


def context_spans(members: Sequence[Member], row: Row) -> dict[Key, Path]:
    """The rows of every context in the step."""
    return {
        member.context: _first(path, member.example.prefix_tokens)
        for member, path in zip(members, row.paths, strict=True)
        if member.example.prefix_key
    }


def spans(stretch: Stretch) -> Path:
    """The rows of a sequence down to a stretch, stretch by stretch."""
    return tuple((part.row, part.row + part.length) for part in stretch.path())


def _first(path: Path, tokens: int) -> Path:
    """The part of a path that holds its first `tokens` tokens."""
    cut: list[Span] = []
    for start, stop in path:
        if tokens > 0:
            cut.append((start, min(stop, start + tokens)))
            tokens -= stop - start
    return tuple(cut)
