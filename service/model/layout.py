"""Which tokens a step computes: the sequences of one tenant as a tree of shared stretches; numpy only, no torch."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from service.model.courtesy import courteous

Keys = NDArray[np.int64]  # token ids; a picture's tokens stand as a negative number of its own

# A shorter stretch in common costs more as an attention segment of its own than it saves.
MIN_SHARED_TOKENS = 8


@dataclass(slots=True)
class Stretch:
    """Tokens that are computed once for every sequence that runs through them."""

    parent: "Stretch | None"
    start: int  # tokens before it in each of its sequences
    stop: int
    owner: int  # one of its sequences, to read ids and positions from
    row: int = -1  # where it stands in the packed row, set by `place`

    @property
    def length(self) -> int:
        return self.stop - self.start

    def path(self) -> Iterator["Stretch"]:
        """From the first tokens down to this stretch."""
        if self.parent is not None:
            yield from self.parent.path()
        yield self


@dataclass(slots=True)
class Tree:
    stretches: list[Stretch] = field(default_factory=list)  # parents before their children
    ends: dict[int, Stretch] = field(default_factory=dict)  # sequence → where its last token is


def grow(sequences: Sequence[Keys], known: Sequence[Stretch | None]) -> Tree:
    """The tree of longest common token prefixes; equal sequences end in the same stretch.

    Args:
        sequences: whole, none of them empty.
        known: for each sequence, a stretch that need not be computed and whose tokens it starts with.
    """
    tree = Tree()
    roots: dict[int, list[int]] = {}
    for i, stretch in enumerate(known):
        roots.setdefault(id(stretch), []).append(i)
    for members in roots.values():
        root = known[members[0]]
        _grow_from(tree, root, members, sequences)
    return tree


def _grow_from(
    tree: Tree, root: Stretch | None, members: list[int], sequences: Sequence[Keys]
) -> None:
    order = sorted(members, key=lambda i: sequences[i].tobytes())
    common = [_common(sequences[a], sequences[b]) for a, b in courteous(pairwise(order))]
    todo = [(root, 0, len(order))]  # what stands before them, and which of `order`
    while todo:
        parent, first, last = todo.pop()
        depth = 0 if parent is None else parent.stop
        for low, high in _clusters(order, common, sequences, depth, first, last):
            length = len(sequences[order[low]])
            stop = min(common[low : high - 1], default=length)
            stretch = Stretch(parent, depth, stop, order[low])
            tree.stretches.append(stretch)
            while low < high and len(sequences[order[low]]) == stop:
                tree.ends[order[low]] = stretch
                low += 1
            if low < high:
                todo.append((stretch, low, high))


def _clusters(
    order: list[int],
    common: list[int],
    sequences: Sequence[Keys],
    depth: int,
    first: int,
    last: int,
) -> Iterator[tuple[int, int]]:
    """Cut where neighbours have too little in common beyond `depth` to be worth sharing."""
    begin = first
    for i in range(first, last - 1):
        equal = common[i] == len(sequences[order[i]]) == len(sequences[order[i + 1]])
        if common[i] - depth < MIN_SHARED_TOKENS and not equal:
            yield begin, i + 1
            begin = i + 1
    yield begin, last


def _common(a: Keys, b: Keys) -> int:
    n = min(len(a), len(b))
    differ = np.flatnonzero(a[:n] != b[:n])
    return int(differ[0]) if len(differ) else n


def place(trees: Sequence[Tree], row: int = 0) -> int:
    """Give every stretch its place in the packed row, one after the other; returns the row's length."""
    for tree in trees:
        for stretch in tree.stretches:
            stretch.row = row
            row += stretch.length
    return row
