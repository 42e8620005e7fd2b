"""Sections of rendered text to the token sequences of an item's responses; numpy and the tokenizer, no template."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from tokenizers import Tokenizer

from service.core import Patches
from service.errors import InvalidRequest
from service.model.control import Section
from service.model.sequence import Ids, TokenSequence

# Characters tokenised in one call: the tokenizer's own records of a text take up to 75 bytes a character.
CHARS_AT_ONCE = 2**19
SLICE_CHARS = 2**13


@dataclass(frozen=True, slots=True)
class Layout:
    """One response's sections; equal where its siblings' are in `head`, the context."""

    head: tuple[Section, ...]
    tail: tuple[Section, ...]


class SectionEncoder:
    """The tokenizer for text without control tokens, and what stands for a picture's tokens."""

    def __init__(self, plain: Tokenizer, image_pad_id: int) -> None:
        self._plain = plain
        self._image_pad_id = image_pad_id

    def token_ends(self, text: str) -> list[int]:
        """Where each token of the text, by itself, ends, in characters. One that takes several tokens ends all of
        them.
        """
        encoding = self._plain.encode(text, add_special_tokens=False)
        return [end for _, end in encoding.offsets]

    def counts(self, text: str) -> Iterator[tuple[int, int]]:
        """(characters, tokens) of one slice of the text after the other, each tokenised by itself.

        For a text that may be far too long: as one it would take 450 bytes of memory a token. Only the words that
        the slices cut are tokenised in another way than in the whole.
        """
        for start in range(0, len(text), SLICE_CHARS):
            some = text[start : start + SLICE_CHARS]
            (encoding,) = self._plain.encode_batch_fast([some], add_special_tokens=False)
            yield len(some), len(encoding.ids)

    def tokenised(self, texts: Iterable[str]) -> dict[str, Ids]:
        distinct = list(dict.fromkeys(texts))
        known: dict[str, Ids] = {}
        for some in _chunks(distinct):
            encodings = self._plain.encode_batch_fast(some, add_special_tokens=False)
            pairs = zip(some, encodings, strict=True)
            known |= {text: np.asarray(e.ids, dtype=np.int32) for text, e in pairs}
        return known

    def sequences(
        self,
        layouts: list[Layout],
        ids: Mapping[str, Ids],
        grids: Sequence[Patches],
        max_head_tokens: int,
    ) -> list[TokenSequence]:
        heads: dict[tuple[Section, ...], Ids] = {}
        sequences = []
        for layout in layouts:
            shown = sum(section.control == self._image_pad_id for section in layout.head)
            if layout.head not in heads:
                tokens = self._count(layout.head, ids, grids)
                if tokens > max_head_tokens:
                    raise _too_long(tokens, max_head_tokens)
                heads[layout.head] = self._run(layout.head, ids, grids)
            tail = self._run(layout.tail, ids, grids[shown:], last=True)
            sequences.append(TokenSequence(heads[layout.head], tail))
        return sequences

    def _count(
        self, sections: Sequence[Section], ids: Mapping[str, Ids], grids: Sequence[Patches]
    ) -> int:
        """Tokens of the sections, before anything is laid out."""
        shown = sum(section.control == self._image_pad_id for section in sections)
        controls = sum(section.control is not None for section in sections) - shown
        texts = sum(len(ids[section.text]) for section in sections if section.control is None)
        return controls + texts + sum(picture.num_tokens for picture in grids[:shown])

    def _run(
        self,
        sections: Sequence[Section],
        ids: Mapping[str, Ids],
        grids: Sequence[Patches],
        *,
        last: bool = False,
    ) -> Ids:
        """
        Raises:
            InvalidRequest: not_supported: a place without a picture, or, in the `last` sections, a picture without
                a place.
        """
        runs, pictures = [np.empty(0, dtype=np.int32)], iter(grids)
        for section in sections:
            if section.control is None:
                runs.append(ids[section.text])
            elif section.control == self._image_pad_id:
                if (picture := next(pictures, None)) is None:
                    raise _hides_pictures()
                runs.append(np.full(picture.num_tokens, section.control, dtype=np.int32))
            else:
                runs.append(np.array([section.control], dtype=np.int32))
        if last and next(pictures, None) is not None:
            raise _hides_pictures()
        return np.concatenate(runs)


def _chunks(texts: Sequence[str]) -> Iterator[list[str]]:
    some: list[str] = []
    chars = 0
    for text in texts:
        if some and chars + len(text) > CHARS_AT_ONCE:
            yield some
            some, chars = [], 0
        some.append(text)
        chars += len(text)
    if some:
        yield some


def _too_long(tokens: int, limit: int) -> InvalidRequest:
    message = f"the context has {tokens} tokens; {limit} are the limit"
    return InvalidRequest(message, code="item_too_long")


def _hides_pictures() -> InvalidRequest:
    message = "this checkpoint's template does not show every picture"
    return InvalidRequest(message, code="not_supported")
