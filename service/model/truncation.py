"""`truncate: "prompt"`: the start of a prompt cut off for each response that is too long with all of it."""

import heapq
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from service.core import Item
from service.model.length_gate import last_user_turn
from service.model.sequence import TokenSequence

# Tokens are dropped in blocks of this part of the limit, so that the responses of one item have at most so many
# different prompts, each of which is rendered and tokenised once, however many responses there are.
BLOCKS = 512

Encode = Callable[[Item], list[TokenSequence]]
TokenEnds = Callable[[str], Sequence[int]]


@dataclass(frozen=True, slots=True)
class Cutter:
    """The last user turn of an item, tokenised once, and the item without the start of that turn's text."""

    item: Item
    turn: int
    ends: tuple[
        tuple[int, ...] | None, ...
    ]  # of each part's tokens, in characters; None: a picture

    @property
    def tokens(self) -> int:
        """All there are to drop."""
        return sum(map(len, filter(None, self.ends)))

    def without(self, tokens: int) -> tuple[Item, int]:
        """The item without at least so many of the turn's first text tokens, and how many it lost."""
        old = self.item.turns[self.turn]
        parts, lost = list(old.parts), 0
        for i, (part, ends) in enumerate(zip(old.parts, self.ends, strict=True)):
            if isinstance(part, str) and ends is not None and lost < tokens:
                parts[i], dropped = without_front(part, ends, tokens - lost)
                lost += dropped
        turns = list(self.item.turns)
        turns[self.turn] = replace(old, parts=tuple(parts))
        return replace(self.item, turns=tuple(turns)), lost


def cutter(item: Item, token_ends: TokenEnds) -> Cutter:
    turn = last_user_turn(item)
    parts = item.turns[turn].parts
    ends = tuple(tuple(token_ends(part)) if isinstance(part, str) else None for part in parts)
    return Cutter(item, turn, ends)


def without_front(text: str, ends: Sequence[int], tokens: int) -> tuple[str, int]:
    """The text without at least its first `tokens` tokens, and how many it lost.

    A character can be several tokens: it goes as a whole, so that every call shortens the text.

    Args:
        text: the text.
        ends: where each of its tokens ends, in characters, never decreasing.
        tokens: at least 1.
    """
    if tokens >= len(ends):
        return "", len(ends)
    end = ends[tokens - 1]
    return text[end:], bisect_right(ends, end)


@dataclass(slots=True)
class Truncation:
    """The responses of one item that are over the limit, each fitted by itself: siblings do not matter."""

    cutter: Cutter
    encode: Encode
    max_tokens: int
    fitted: dict[int, tuple[TokenSequence, int]] = field(default_factory=dict)  # and tokens dropped

    def fit(self, over: dict[int, int]) -> dict[int, tuple[TokenSequence, int]]:
        """Of each response the sequence that fits and the tokens dropped; those that never fit are left out.

        Args:
            over: by response, tokens beyond the limit with the whole prompt.
        """
        block = max(1, self.max_tokens // BLOCKS)
        waiting: dict[int, list[int]] = {}  # by tokens to drop
        for response, tokens in over.items():
            waiting.setdefault(-(-tokens // block) * block, []).append(response)
        order = sorted(waiting)
        while order:
            drop = heapq.heappop(order)
            for response, beyond in self._try(drop, waiting.pop(drop)).items():
                # Merges at the cut may cost a token, so it is measured again until it fits.
                more = drop + -(-beyond // block) * block
                if more not in waiting:
                    heapq.heappush(order, more)
                waiting.setdefault(more, []).append(response)
        return self.fitted

    def _try(self, drop: int, responses: list[int]) -> dict[int, int]:
        """Fit the responses with so much dropped; of those that are still over, and need not be, by how much."""
        item, lost = self.cutter.without(drop)
        some = tuple(item.responses[r] for r in responses)
        still_over = {}
        for r, sequence in zip(responses, self.encode(replace(item, responses=some)), strict=True):
            if len(sequence) <= self.max_tokens:
                self.fitted[r] = sequence, lost
            elif drop < self.cutter.tokens:
                still_over[r] = len(sequence) - self.max_tokens
        return still_over
