"""Control tokens: the strings that structure a conversation, and user text that cannot fake them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

# A Unicode noncharacter: put after the "<" of a control token in user text, it keeps the token from
# being one while the template is rendered. User text that holds it has it doubled, so nothing is lost.
_HIDE = "\ufdd0"
_UNHIDE = re.compile(_HIDE + "(" + _HIDE + "?)")


@dataclass(frozen=True, slots=True)
class Section:
    """A stretch of rendered text: one control token, or plain text between two of them."""

    text: str
    control: int | None  # its id


class ControlTokens:
    def __init__(self, ids: Mapping[str, int]) -> None:
        self.ids = ids
        longest_first = sorted(ids, key=len, reverse=True)
        self._pattern = re.compile("(" + "|".join(map(re.escape, longest_first)) + ")")
        # Where one token holds another, what follows decides which of the two it is.
        self._nested = any(a != b and a in b for a in ids for b in ids)

    def are_in(self, text: str) -> bool:
        return self._pattern.search(text) is not None

    def hide(self, text: str) -> str:
        if _HIDE in text:
            text = text.replace(_HIDE, _HIDE * 2)
        return self._pattern.sub(lambda m: m[0][0] + _HIDE + m[0][1:], text)

    def sections(self, rendered: str) -> list[Section]:
        """Rendered text cut at its control tokens; what was hidden in it is shown again."""
        pieces = self._pattern.split(rendered)
        return [
            Section(piece, self.ids[piece]) if i % 2 else Section(_reveal(piece), None)
            for i, piece in enumerate(pieces)
            if piece
        ]

    def last_end(self, rendered: str) -> int:
        """Where the last control token ends: the sections before it are the same whatever follows."""
        if self._nested:
            return 0
        end = 0
        for match in self._pattern.finditer(rendered):
            end = match.end()
        return end


def _reveal(text: str) -> str:
    return _UNHIDE.sub(r"\1", text) if _HIDE in text else text
