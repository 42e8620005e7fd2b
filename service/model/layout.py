"""Which tokens a step computes: the sequences of one tenant as a tree of shared stretches; numpy only, no torch."""

from collections.abc import Iterable, Iterator, Sequence
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

    def path(self) -> list["Stretch"]:
        """From the first tokens down to this stretch."""
        found: list[Stretch] = []
        at: Stretch | None = self
        while at is not None:
            found.append(at)
            at = at.parent
        return found[::-1]


@dataclass(slots=True)
class Tree:
    stretches: list[Stretch] = field(default_factory=list)  # parents before their children
    ends: dict[int, Stretch] = field(default_factory=dict)  # sequence → where its last token is


@dataclass(frozen=True, slots=True, eq=False)
class Keyed:
    """One sequence; siblings have the same `head` object, so it is looked at once for all of them."""

    head: Keys
    tail: Keys

    @property
    def keys(self) -> Keys:
        """All of it, made anew."""
        return np.concatenate([self.head, self.tail]) if len(self.head) else self.tail


def grow(sequences: Sequence[Keyed], known: Sequence[Stretch | None]) -> Tree:
    """The tree of longest common token prefixes; equal sequences end in the same stretch.

    Distinct heads are looked at whole, and beyond a head the tails alone: the work and the memory are those of the
    distinct heads and all tails, not of whole sequences.

    Args:
        sequences: none of them empty.
        known: for each sequence, a stretch that need not be computed and whose tokens it starts with.
    """
    tree = Tree()
    by_root: dict[int, list[int]] = {}
    for i, stretch in enumerate(known):
        by_root.setdefault(id(stretch), []).append(i)
    for members in by_root.values():
        root = known[members[0]]
        depth = 0 if root is None else root.stop
        todo = [(root, depth, _heads(members, sequences, depth).entries())]
        while todo:
            parent, start, entries = todo.pop()
            ends = _grow_from(tree, parent, start, entries)
            for entry, stretch in zip(entries, ends, strict=True):
                if entry.below is None:
                    tree.ends[entry.owner] = stretch
                else:
                    todo.append((stretch, start + len(entry.keys), entry.below.entries()))
    return tree


@dataclass(slots=True, eq=False)
class _Entry:
    """What grows from one place: a sequence's rest, or the rest of a head with all that follows it."""

    keys: Keys
    owner: int  # one of its sequences
    below: "_Head | None" = None


@dataclass(slots=True, eq=False)
class _Head:
    """A head that one or more sequences have, and what follows: their tails, and heads that begin with it."""

    keys: Keys
    tails: list[_Entry] = field(default_factory=list)
    longer: list[_Entry] = field(default_factory=list)

    def entries(self) -> list[_Entry]:
        return [*self.tails, *self.longer]

    def pass_down(self) -> None:
        """Give sequences that go on as a longer head does to that head."""
        for entry in self.longer:
            assert entry.below is not None
            own, self.tails = self.tails, []
            for tail in own:
                if _common(entry.keys, tail.keys) == len(entry.keys):
                    tail.keys = tail.keys[len(entry.keys) :]
                    entry.below.tails.append(tail)
                else:
                    self.tails.append(tail)

    def take_shared(self) -> Keys:
        """Take what all entries begin with off them, and return it."""
        entries = self.entries()
        first = entries[0].keys
        shared = len(first)
        for entry in entries[1:]:
            shared = min(shared, _common(first[:shared], entry.keys))
        for entry in entries:
            entry.keys = entry.keys[shared:]
        return first[:shared]


def _heads(members: Iterable[int], sequences: Sequence[Keyed], known: int) -> _Head:
    """The members under their heads, heads under shorter ones that they begin with, from an empty one on.

    Args:
        members: which of the sequences.
        sequences: all of them.
        known: leading tokens that all members have in common already.
    """
    root = _Head(np.empty(0, dtype=np.int64))
    by_object: dict[int, _Head] = {}
    by_content: dict[bytes, _Head] = {b"": root}
    for i in members:
        sequence = sequences[i]
        head, tail = sequence.head, sequence.tail
        if len(head) - known < MIN_SHARED_TOKENS:  # not worth a look of its own
            root.tails.append(_Entry(sequence.keys[known:] if known < len(head) else tail, i))
            continue
        if id(head) not in by_object:
            new = _Head(head[known:])
            by_object[id(head)] = by_content.setdefault(new.keys.tobytes(), new)
        by_object[id(head)].tails.append(_Entry(tail, i))
    _nest(by_content)
    return root


def _nest(by_content: dict[bytes, _Head]) -> None:
    """Hang each head, and each sequence, below the longest head that it begins with."""
    order = sorted(by_content)  # a prefix stands before whatever begins with it
    above: list[bytes] = []
    hung: list[tuple[_Entry, _Head]] = []
    for content in order:
        while above and not content.startswith(above[-1]):
            above.pop()
        if above:
            head, parent = by_content[content], by_content[above[-1]]
            entry = _Entry(head.keys[len(parent.keys) :], head.tails[0].owner, head)
            parent.longer.append(entry)
            hung.append((entry, head))
        above.append(content)
    for content in order:
        by_content[content].pass_down()
    for entry, head in reversed(hung):  # the longest first: what follows it is known then
        entry.keys = np.concatenate([entry.keys, head.take_shared()])


def _grow_from(
    tree: Tree, root: Stretch | None, base: int, entries: Sequence[_Entry]
) -> list[Stretch]:
    """Grow the entries from one place; where each of them ends.

    Args:
        tree: takes the new stretches.
        root: what they grow from; None: nothing.
        base: tokens before that place.
        entries: one with nothing left ends at `root`.
    """
    ends: dict[int, Stretch] = {}
    keys = [entry.keys for entry in entries]
    if root is not None:
        ends = {i: root for i, rest in enumerate(keys) if not len(rest)}
    order = sorted((i for i in range(len(keys)) if i not in ends), key=lambda i: keys[i].tobytes())
    common = [_common(keys[a], keys[b]) for a, b in courteous(pairwise(order))]
    todo = [(root, 0, 0, len(order))] if order else []  # parent, tokens of it, which of `order`
    while todo:
        parent, depth, first, last = todo.pop()
        for low, high in _clusters(order, common, keys, depth, first, last):
            length = len(keys[order[low]])
            stop = min(common[low : high - 1], default=length)
            stretch = Stretch(parent, base + depth, base + stop, entries[order[low]].owner)
            tree.stretches.append(stretch)
            while low < high and len(keys[order[low]]) == stop:
                ends[order[low]] = stretch
                low += 1
            if low < high:
                todo.append((stretch, stop, low, high))
    return [ends[i] for i in range(len(keys))]


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
