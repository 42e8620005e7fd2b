"""How a packed row's attention is cut on a CPU: into blocks of queries over keys, small ones together.

A stretch of few tokens is seen beside its children's own, one of many in pieces that see those before them.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from service.model.attention import Path, Segments, Span

_FEW = 64  # tokens: seen beside others at less cost than merged with them
_LONG = 768  # tokens of a stretch: masks over more would be large
_SHORT = 32  # tokens; padding up to here costs nothing
_SMALL = 2**13  # pairs of queries and keys that take no longer than a call does by itself
_PADDED = 2.0  # the longest of a batch of such calls, in lengths of its shortest


@dataclass(frozen=True, slots=True)
class Block:
    """Queries over the keys of some spans: all see all, or those at the end see those up to themselves."""

    queries: Span
    keys: Path
    causal: bool

    @property
    def num_queries(self) -> int:
        return _length(self.queries)

    @property
    def num_keys(self) -> int:
        return tokens(self.keys)


def in_parts(path: Path) -> list[Path]:
    """What a stretch sees, in parts that are worth a call each; the stretch is the end of the last one."""
    found: list[Path] = []
    part: Path = ()
    for span in path[:-1]:
        part = (*part, span)
        if tokens(part) > _FEW:
            found.append(part)
            part = ()
    return [*found, (*part, path[-1])]


def in_pieces(segments: Segments) -> Segments:
    """Each long stretch as several, of about one length, which see those before them."""
    queries: list[Span] = []
    paths: list[Path] = []
    for span, path in zip(segments.queries, segments.paths, strict=True):
        if _length(span) <= _LONG:
            queries.append(span)
            paths.append(path)
            continue
        start, stop = span
        size = math.ceil(_length(span) / math.ceil(_length(span) / _LONG))
        for begin in range(start, stop, size):
            piece = (begin, min(begin + size, stop))
            before = ((start, begin),) if begin > start else ()
            queries.append(piece)
            paths.append((*path[:-1], *before, piece))
    return Segments(tuple(queries), tuple(paths))


def own_blocks(segments: Segments, most: int) -> list[Block]:
    """Each segment over the last part of its path, in blocks of at most so many queries."""
    found = []
    for queries, path in zip(segments.queries, segments.paths, strict=True):
        *before, own = in_parts(path)[-1]
        if _length(queries) == 1:  # the last row of its path, whichever row it has itself
            found.append(Block(queries, (*before, own), causal=True))
            continue
        assert queries == own
        for start in range(*queries, most):
            stop = min(start + most, own[1])
            found.append(Block((start, stop), (*before, (own[0], stop)), causal=True))
    return found


def shared_blocks(segments: Segments, level: int) -> list[Block]:
    """What comes before: for each part at this place of its paths, neighbours below it at once."""
    found = []
    parts = [in_parts(path)[:-1] for path in segments.paths]
    seen = [some[level] if level < len(some) else None for some in parts]
    for keys, run in groupby(zip(seen, segments.queries, strict=True), lambda pair: pair[0]):
        if keys is not None:
            queries = [span for _, span in run]
            found.append(Block((queries[0][0], queries[-1][1]), keys, causal=False))
    return found


def batched(blocks: Sequence[Block]) -> list[list[Block]]:
    """Small ones of about one size together; to bring others together would cost more than their calls."""
    alone: list[list[Block]] = []
    sizes: dict[tuple[bool, int, int], list[Block]] = {}
    for block in blocks:
        if block.num_queries * block.num_keys > _SMALL:
            alone.append([block])
        else:
            size = block.causal, _step(block.num_queries), _step(block.num_keys)
            sizes.setdefault(size, []).append(block)
    return [*alone, *sizes.values()]


def _step(length: int) -> int:
    return math.ceil(math.log(max(length, _SHORT) / _SHORT, _PADDED))


def _length(span: Span) -> int:
    return span[1] - span[0]


def tokens(path: Path) -> int:
    return sum(map(_length, path))
