"""The responses of a step as the prefix tree compares them and as the row takes them; numpy only, no torch."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.core import Example, Patches
from service.model.banks import Key
from service.model.encoding import Encoded
from service.model.layout import Keyed, Keys
from service.model.pixels import PixelShape
from service.model.positions import rope_positions
from service.model.sequence import Ids, TokenSequence


@dataclass(frozen=True, slots=True)
class Member:
    """One response to compute."""

    tenant: str
    example: Example
    response: int

    @property
    def encoded(self) -> Encoded:
        assert isinstance(self.example.data, Encoded)
        return self.example.data

    @property
    def sequence(self) -> TokenSequence:
        return self.encoded.sequences[self.response]

    @property
    def context(self) -> Key:
        return self.tenant, self.example.prefix_key


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """Consecutive tokens of a sequence, as the tree compares them and as the row takes them."""

    ids: Ids  # [tokens]
    keys: Keys  # [tokens]
    positions: NDArray[np.int64]  # [3, tokens]
    picture: NDArray[np.int64]  # token → which picture of the step, -1 for text
    within: NDArray[np.int64]  # token → which token of its picture

    image_tokens: int = 0
    next_position: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """A member's tokens; siblings have the same `head` object."""

    head: Part
    tail: Part
    patches: dict[int, tuple[Key, Patches]]

    @property
    def keyed(self) -> Keyed:
        return Keyed(self.head.keys, self.tail.keys)

    def within(self, start: int, stop: int) -> Iterator[tuple[slice, Part, slice]]:
        """The parts that hold the tokens from `start` to `stop`: where among these, and where in the part."""
        at = 0
        for part in (self.head, self.tail):
            first, last = max(start, at), min(stop, at + len(part.ids))
            if first < last:
                yield slice(first - start, last - start), part, slice(first - at, last - at)
            at += len(part.ids)


class Views:
    """One step's; a head is looked at once, whoever has it."""

    def __init__(self, shape: PixelShape) -> None:
        self._shape = shape
        self._numbers: dict[Key, int] = {}  # of the step's pictures
        self._heads: dict[tuple[str, int], Part] = {}

    def of(self, member: Member) -> View:
        sequence, encoded = member.sequence, member.encoded
        keys = [(member.tenant, p.digest) for p in encoded.pictures]
        which = [self._numbers.setdefault(key, len(self._numbers)) for key in keys]
        patches = dict(zip(which, zip(keys, encoded.pictures, strict=True), strict=True))
        name = member.tenant, id(sequence.head)
        if name not in self._heads:
            self._heads[name] = self._pictured(sequence.head, encoded, which)
        head = self._heads[name]
        if head.image_tokens < sum(p.num_tokens for p in encoded.pictures):
            # A template that shows some after the last turn's role: its sequences share no head.
            nothing = self._pictured(sequence.head[:0], encoded, which)
            return View(nothing, self._pictured(sequence.ids, encoded, which), patches)
        return View(head, _text(sequence.tail, head.next_position), patches)

    def _pictured(self, ids: Ids, encoded: Encoded, which: Sequence[int]) -> Part:
        """The tokens from a sequence's first one on, pictures among them: all of these, or none."""
        is_image = ids == encoded.image_pad_id
        part, count = _text(ids, 0), int(np.count_nonzero(is_image))
        counts = [p.num_tokens for p in encoded.pictures]
        if not count or count < sum(counts):  # some are in the tail: `of` looks at the whole
            return part
        merge = self._shape.merge
        grids = [(p.grid_h // merge, p.grid_w // merge) for p in encoded.pictures]
        part.picture[is_image] = np.repeat(which, counts)
        part.within[is_image] = np.concatenate([np.arange(n) for n in counts])
        keys = np.where(is_image, -1 - part.picture, ids)
        positions = rope_positions(is_image, grids)
        ended = int(positions.max()) + 1
        return Part(ids, keys, positions, part.picture, part.within, count, ended)


def _text(ids: Ids, position: int) -> Part:
    """Tokens without a picture, from a position on."""
    count = len(ids)
    positions = np.broadcast_to(np.arange(position, position + count), (3, count))
    none = np.full(count, -1, dtype=np.int64)
    zeros = np.zeros(count, dtype=np.int64)
    return Part(ids, ids.astype(np.int64), positions, none, zeros, next_position=position + count)
