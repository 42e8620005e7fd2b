"""Items to examples: whole token sequences, the context they share, truncation and warnings."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from service.core import Example, Item, Patches, Picture, Warned
from service.errors import InvalidRequest
from service.model.courtesy import courteous
from service.model.template import ChatTemplate, Ids

CONTROL_TEXT = "control_text"
TRUNCATED = "truncated"


@dataclass(frozen=True, slots=True)
class Encoded:
    """An example's data: whole sequences that end at their pooled token, and the context's pictures."""

    sequences: tuple[NDArray[np.int32], ...]
    pictures: tuple[Patches, ...]  # in order of their picture tokens
    image_pad_id: int


class Encoder:
    """One checkpoint's template and token limit."""

    def __init__(self, template: ChatTemplate, max_tokens: int) -> None:
        self._template = template
        self._max_tokens = max_tokens

    def encode(
        self, items: Sequence[Item], pictures: Mapping[Picture, Patches]
    ) -> list[Example | Exception]:
        """An example, or its own refusal, for every item; the texts of all are tokenised together."""
        whole = [_with_whole_texts(item) for item in items]
        requests = [(item, _grids(item, pictures)) for item in whole]
        encoded = self._template.encode_all(requests)
        return [
            x if isinstance(x, InvalidRequest) else self._example(*request, x)
            for request, x in courteous(zip(requests, encoded, strict=True))
        ]

    def _example(self, item: Item, grids: tuple[Patches, ...], sequences: list[Ids]) -> Example:
        warnings = self._control_warnings(item)
        if item.truncate_prompt:
            warnings += self._truncate(item, grids, sequences)
        prefix = self._template.context_tokens(sequences)
        return Example(
            lengths=tuple(map(len, sequences)),
            image_tokens=sum(p.num_tokens for p in grids),
            data=Encoded(tuple(sequences), grids, self._template.image_pad_id),
            prefix_tokens=prefix,
            prefix_key=_prefix_key(sequences[0][:prefix], grids) if prefix else b"",
            image_patches=sum(p.grid_h * p.grid_w for p in grids),
            warnings=tuple(warnings),
            refused=_too_long(sequences, self._max_tokens),
        )

    def _truncate(self, item: Item, grids: Sequence[Patches], sequences: list[Ids]) -> list[Warned]:
        """Cut the prompt's start for each response that is over, in place; siblings are not affected."""
        notes = []
        for r, ids in enumerate(sequences):
            if len(ids) > self._max_tokens:
                alone = replace(item, responses=(item.responses[r],))
                fitted, dropped = self._fit(alone, grids, ids)
                if len(fitted) <= self._max_tokens:  # else it is refused, with its own size
                    sequences[r] = fitted
                    message = f"{dropped} tokens dropped from the start of the prompt"
                    notes.append(Warned(TRUNCATED, message, r))
        return notes

    def _fit(self, item: Item, grids: Sequence[Patches], ids: Ids) -> tuple[Ids, int]:
        """Merges at the cut may cost or save a token, so it is measured again until it fits."""
        dropped = 0
        while (over := len(ids) - self._max_tokens) > 0:
            item, lost = _drop_front(item, over, self._template)
            if lost == 0:
                break
            dropped += lost
            (ids,) = self._template.encode(item, grids)
        return ids, dropped

    def _control_warnings(self, item: Item) -> list[Warned]:
        texts = [p for turn in item.turns for p in turn.parts if isinstance(p, str)]
        texts.append(item.system or "")
        found: list[int | None] = []
        if any(map(self._template.has_control_text, texts)):
            found.append(None)
        found += [r for r, x in enumerate(item.responses) if self._template.has_control_text(x)]
        message = "control tokens in the text were scored as ordinary characters"
        return [Warned(CONTROL_TEXT, message, r) for r in found]


def _grids(item: Item, pictures: Mapping[Picture, Patches]) -> tuple[Patches, ...]:
    parts = (part for turn in item.turns for part in turn.parts)
    return tuple(pictures[part] for part in parts if isinstance(part, Picture))


def _prefix_key(ids: Ids, pictures: Sequence[Patches]) -> bytes:
    """A name for the context: equal where its tokens and pictures are."""
    whole = hashlib.sha256(ids.tobytes())
    for picture in pictures:
        whole.update(picture.digest)
    return whole.digest()


def _too_long(sequences: Sequence[Ids], limit: int) -> dict[int, Exception]:
    """The responses whose sequence is over the limit; their siblings are scored all the same."""
    return {
        r: InvalidRequest(f"{len(ids)} tokens exceed {limit}", code="item_too_long", response=r)
        for r, ids in enumerate(sequences)
        if len(ids) > limit
    }


def _with_whole_texts(item: Item) -> Item:
    """Adjacent texts as one: apart, two of them could join to a control token in the template."""
    return replace(item, turns=tuple(replace(t, parts=_joined(t.parts)) for t in item.turns))


def _joined(parts: Sequence[str | Picture]) -> tuple[str | Picture, ...]:
    whole: list[str | Picture] = []
    for part in parts:
        if isinstance(part, str) and whole and isinstance(whole[-1], str):
            whole[-1] += part
        else:
            whole.append(part)
    return tuple(whole)


def _drop_front(item: Item, tokens: int, template: ChatTemplate) -> tuple[Item, int]:
    """The item with the last user turn's text shortened from its start, and the tokens dropped."""
    index = max(i for i, turn in enumerate(item.turns) if turn.role == "user")
    parts: list[str | Picture] = []
    lost = 0
    for part in item.turns[index].parts:
        if isinstance(part, str) and lost < tokens:
            part, count = template.drop_front(part, tokens - lost)
            lost += count
        parts.append(part)
    turns = list(item.turns)
    turns[index] = replace(item.turns[index], parts=tuple(parts))
    return replace(item, turns=tuple(turns)), lost
