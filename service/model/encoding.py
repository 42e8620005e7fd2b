"""Items to examples: whole token sequences, the context they share, truncation and warnings."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from service.core import Example, Item, Patches, Picture, Warned
from service.errors import InvalidRequest
from service.model.courtesy import courteous
from service.model.length_gate import Admitted, LengthGate
from service.model.sequence import Ids, TokenSequence, shared_head
from service.model.template import ChatTemplate, Request
from service.model.truncation import Truncation, cutter

CONTROL_TEXT = "control_text"
MEASURED_TOKENS = 2**22  # of a context that `truncate` may cut: 16 MiB of token ids
TRUNCATED = "truncated"


@dataclass(frozen=True, slots=True)
class Encoded:
    """An example's data: sequences that end at their pooled token, and the context's pictures."""

    sequences: tuple[TokenSequence, ...]
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
        gate = LengthGate(self._template.counts, self._max_tokens)
        admitted = [gate.admit(_with_whole_texts(item)) for item in courteous(items)]
        good = [x.item for x in admitted if isinstance(x, Admitted)]
        requests = [(item, _grids(item, pictures)) for item in good]
        # What is to be cut is measured whole first.
        cuts = any(item.truncate_prompt for item in good)
        limit = MEASURED_TOKENS if cuts else self._max_tokens
        found = zip(requests, self._template.encode_all(requests, limit), strict=True)
        return [
            x if isinstance(x, InvalidRequest) else self._encoded(x, *next(found))
            for x in courteous(admitted)
        ]

    def _encoded(
        self, admitted: Admitted, request: Request, found: list[TokenSequence] | InvalidRequest
    ) -> Example | InvalidRequest:
        if isinstance(found, InvalidRequest):
            return found
        example = self._example(*request, found, admitted.dropped)
        if admitted.refused:
            return replace(example, refused={**example.refused, **admitted.refused})
        return example

    def _example(
        self,
        item: Item,
        grids: Sequence[Patches],
        sequences: list[TokenSequence],
        dropped: int,
    ) -> Example:
        warnings = self._control_warnings(item)
        if item.truncate_prompt:
            warnings += self._truncate(item, grids, sequences, dropped)
        head = shared_head(sequences)
        return Example(
            lengths=tuple(map(len, sequences)),
            image_tokens=sum(p.num_tokens for p in grids),
            data=Encoded(tuple(sequences), tuple(grids), self._template.image_pad_id),
            prefix_tokens=len(head),
            prefix_key=_prefix_key(head, grids) if len(head) else b"",
            image_patches=sum(p.grid_h * p.grid_w for p in grids),
            warnings=tuple(warnings),
            refused=_too_long(sequences, self._max_tokens),
        )

    def _truncate(
        self,
        item: Item,
        grids: Sequence[Patches],
        sequences: list[TokenSequence],
        dropped: int,
    ) -> list[Warned]:
        """Cut the prompt's start for each response that is over, in place; siblings are not affected.

        Args:
            item: whose prompt has lost `dropped` tokens already, which no response could have kept.
            grids: its pictures.
            sequences: of its responses, with all that is left of the prompt.
            dropped: see `item`.
        """
        limit = self._max_tokens
        over = {r: len(s) - limit for r, s in enumerate(sequences) if len(s) > limit}
        if not over:
            return []
        encode = partial(self._template.encode, grids=grids, max_head_tokens=MEASURED_TOKENS)
        fitted = Truncation(cutter(item, self._template.token_ends), encode, limit).fit(over)
        for r, (sequence, _) in fitted.items():
            sequences[r] = sequence
        return [
            Warned(TRUNCATED, f"{dropped + lost} tokens dropped from the start of the prompt", r)
            for r, (_, lost) in sorted(fitted.items())
        ]

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


def _too_long(sequences: Sequence[TokenSequence], limit: int) -> dict[int, Exception]:
    """The responses whose sequence is over the limit; their siblings are scored all the same."""
    return {
        r: InvalidRequest(
            f"{len(sequence)} tokens exceed {limit}", code="item_too_long", response=r
        )
        for r, sequence in enumerate(sequences)
        if len(sequence) > limit
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
