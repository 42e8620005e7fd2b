"""Texts that are far too long, found by counting slices of them: before anything of their size is built."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from service.core import Item
from service.errors import InvalidRequest

Counts = Callable[[str], Iterator[tuple[int, int]]]  # (characters, tokens) of slices of a text

# A count by slices is wrong only by the words that slices cut: what is more than twice the limit, and so much, by
# slices is over the limit as a whole.
SLACK_TOKENS = 1000


@dataclass(frozen=True, slots=True)
class Admitted:
    """An item whose texts may be tokenised whole."""

    item: Item
    dropped: int = (
        0  # tokens that its prompt has lost at the start, which no response could have kept
    )
    refused: dict[int, InvalidRequest] = field(default_factory=dict)  # responses; empty in `item`


class LengthGate:
    def __init__(self, counts: Counts, max_tokens: int) -> None:
        self._counts = counts
        self._max_tokens = max_tokens
        self._enough = 2 * max_tokens + SLACK_TOKENS

    def admit(self, item: Item) -> Admitted | InvalidRequest:
        """The item without what is far too long; or what refuses it."""
        cut = last_user_turn(item) if item.truncate_prompt else None
        item, dropped = (item, 0) if cut is None else self._cut(item, cut)
        kept = [turn for i, turn in enumerate(item.turns) if i != cut]
        texts = [p for turn in kept for p in turn.parts if isinstance(p, str)]
        if (tokens := sum(map(self._count, [*texts, item.system or ""]))) > self._enough:
            message = (
                f"the context has more than {tokens // 2} tokens; {self._max_tokens} are the limit"
            )
            return InvalidRequest(message, code="item_too_long")
        refused = {
            r: InvalidRequest(
                f"more than {tokens // 2} tokens exceed {self._max_tokens}",
                code="item_too_long",
                response=r,
            )
            for r, response in enumerate(item.responses)
            if (tokens := self._count(response)) > self._enough
        }
        if refused:
            texts = ["" if r in refused else text for r, text in enumerate(item.responses)]
            item = replace(item, responses=tuple(texts))
        return Admitted(item, dropped, refused)

    def _count(self, text: str) -> int:
        """Tokens of a text that may be too long, counted until it is known; 0 of one that cannot be."""
        if self._is_short(text):
            return 0
        tokens = 0
        for _, count in self._counts(text):
            tokens += count
            if tokens > self._enough:
                break
        return tokens

    def _is_short(self, text: str) -> bool:
        return len(text) * 4 <= self._enough or len(text.encode()) <= self._enough

    def _cut(self, item: Item, at: int) -> tuple[Item, int]:
        """The item with no more of that turn than any response could keep, and the tokens dropped."""
        parts, dropped = list(item.turns[at].parts), 0
        for i, part in enumerate(parts):
            if isinstance(part, str) and not self._is_short(part):
                parts[i], lost = self._end_of(part)
                dropped += lost
        turns = list(item.turns)
        turns[at] = replace(turns[at], parts=tuple(parts))
        return replace(item, turns=tuple(turns)), dropped

    def _end_of(self, text: str) -> tuple[str, int]:
        slices = list(self._counts(text))
        kept = chars = 0
        while slices and kept <= self._enough:
            some, tokens = slices.pop()
            kept, chars = kept + tokens, chars + some
        return text[len(text) - chars :], sum(tokens for _, tokens in slices)


def last_user_turn(item: Item) -> int:
    return max(i for i, turn in enumerate(item.turns) if turn.role == "user")
