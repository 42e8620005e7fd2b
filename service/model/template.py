"""Conversation to token ids: the checkpoint's chat template over whole texts, with user text that stays text."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from service.core import Item, Patches
from service.errors import InvalidRequest, StartError
from service.model.control import ControlTokens, Section
from service.model.courtesy import courteous
from service.model.manifest import Pool, TemplateRules
from service.model.rendering import Messages, Renderer, Shape, answered
from service.model.sequence import Ids, TokenSequence
from service.model.skeleton import Skeletons
from service.model.tokens import control_ids, one_line, read_tokenizer, without_control

T = TypeVar("T")
Request = tuple[Item, Sequence[Patches]]  # an item and the pictures of its turns, in order
IMAGE_PAD = "<|image_pad|>"
# Characters tokenised in one call: the tokenizer's own records of a text take up to 75 bytes a character.
CHARS_AT_ONCE = 2**19


@dataclass(frozen=True, slots=True)
class Layout:
    """One response's sections; equal where its siblings' are in `head`, the context."""

    head: tuple[Section, ...]
    tail: tuple[Section, ...]


class ChatTemplate:
    """The tokenizer twice: as it is, for the template's control tokens, and without them, for text."""

    def __init__(self, folder: Path, rules: TemplateRules, pool: Pool) -> None:
        """
        Raises:
            StartError: no tokenizer, or no chat template, in the folder.
        """
        self._tokenizer = read_tokenizer(folder)
        try:
            self._apply([{"role": "user", "content": "probe"}])
        except Exception as error:  # noqa: BLE001 - Jinja raises what a template makes it raise
            raise StartError(f"the chat template cannot be rendered: {one_line(error)}") from None
        self._pool = pool
        self._control = ControlTokens(control_ids(self._tokenizer))
        ids = self._control.ids
        if IMAGE_PAD not in ids:
            raise StartError(f"the tokenizer has no {IMAGE_PAD} token")
        self._renderer = Renderer(self._apply, rules.system)
        source = str(self._tokenizer.chat_template)
        self._skeletons = Skeletons(self._renderer.render, self._control.hide, source)
        self._plain = without_control(self._tokenizer, ids)
        self.image_pad_id = ids[IMAGE_PAD]
        self.pad_id = self._tokenizer.pad_token_id or 0

    @property
    def source(self) -> dict[str, Any]:
        """What decides the token ids, for the fingerprint."""
        backend = json.loads(self._tokenizer.backend_tokenizer.to_str())
        kept = {k: backend[k] for k in ("normalizer", "pre_tokenizer", "model", "added_tokens")}
        return {"tokenizer": kept, "chat_template": self._tokenizer.chat_template}

    def has_control_text(self, text: str) -> bool:
        return self._control.are_in(text)

    def encode(
        self, item: Item, grids: Sequence[Patches], max_head_tokens: int
    ) -> list[TokenSequence]:
        """As `encode_all`, for one item.

        Raises:
            InvalidRequest: not_supported or item_too_long.
        """
        (encoded,) = self.encode_all([(item, grids)], max_head_tokens)
        if isinstance(encoded, InvalidRequest):
            raise encoded
        return encoded

    def encode_all(
        self, requests: Sequence[Request], max_head_tokens: int
    ) -> list[list[TokenSequence] | InvalidRequest]:
        """Token ids of each response's whole sequence, ending at the pooled token; or what refuses the item.

        A context is counted before it is laid out: one of more than `max_head_tokens` refuses its item.

        Every plain stretch between two control tokens is tokenised in one piece, response and
        template together: the line break before it and a response that starts with a newline merge as they
        did in training. All stretches of all items are tokenised in one batch, distinct ones once.
        """
        laid = [_or_refusal(partial(self._layouts, item)) for item, _ in courteous(requests)]
        good = [layout for layouts in laid if isinstance(layouts, list) for layout in layouts]
        ids = self._tokenised(s.text for x in good for s in (*x.head, *x.tail) if s.control is None)
        return [
            x
            if isinstance(x, InvalidRequest)
            else _or_refusal(partial(self._sequences, x, ids, grids, max_head_tokens))
            for x, (_, grids) in courteous(zip(laid, requests, strict=True))
        ]

    def token_ends(self, text: str) -> list[int]:
        """Where each token of the text, by itself, ends: offsets in characters. A character that takes several
        tokens ends all of them.
        """
        encoding = self._plain.encode(text, add_special_tokens=False)
        return [end for _, end in encoding.offsets]

    # Sections

    def _layouts(self, item: Item) -> list[Layout]:
        shape, texts = self._renderer.conversation(item)
        texts = [self._control.hide(text) for text in texts]
        heads: dict[bool, tuple[tuple[Section, ...], str, str] | None] = {}  # by empty response
        known: dict[Section, Section] = {}  # siblings rendered apart share their texts
        layouts = []
        for response in courteous(item.responses, every=256):
            whole, hidden = answered(shape, response), self._control.hide(response)
            if (empty := not response) not in heads:
                heads[empty] = self._head(whole, texts)
            if (found := heads[empty]) is not None:
                head, before, after = found
                tail = self._pooled(before + hidden + after)
                layouts.append(Layout(head, tuple(tail)))
            else:
                rendered = self._pooled(self._renderer.render(whole, [*texts, hidden]))
                layouts.append(_cut([known.setdefault(s, s) for s in rendered]))
        return layouts

    def _head(self, shape: Shape, texts: list[str]) -> tuple[tuple[Section, ...], str, str] | None:
        """The sections before the one that holds the response, and the text around the response there."""
        skeleton = self._skeletons.of(shape)
        around = skeleton.around_last(texts) if skeleton else None
        if around is None:
            return None
        before, after = around
        cut = self._control.last_end(before)
        return tuple(self._control.sections(before[:cut])), before[cut:], after

    def _pooled(self, rendered: str) -> list[Section]:
        """The sections up to the pooled token: attention is causal, so what follows cannot matter."""
        sections = self._control.sections(rendered)
        last = sections[-1]
        strip = self._pool == "last_strip_newline" and last.control is None
        return sections[:-1] if strip and not last.text.strip("\n") else sections

    def _apply(self, messages: Messages) -> str:
        text = self._tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=False
        )
        return str(text)

    # Token ids

    def _tokenised(self, texts: Iterable[str]) -> dict[str, Ids]:
        distinct = list(dict.fromkeys(texts))
        known: dict[str, Ids] = {}
        for some in _chunks(distinct):
            encodings = self._plain.encode_batch_fast(some, add_special_tokens=False)
            pairs = zip(some, encodings, strict=True)
            known |= {text: np.asarray(e.ids, dtype=np.int32) for text, e in pairs}
        return known

    def _sequences(
        self,
        layouts: list[Layout],
        ids: Mapping[str, Ids],
        grids: Sequence[Patches],
        max_head_tokens: int,
    ) -> list[TokenSequence]:
        heads: dict[tuple[Section, ...], Ids] = {}
        sequences = []
        for layout in layouts:
            shown = sum(section.control == self.image_pad_id for section in layout.head)
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
        shown = sum(section.control == self.image_pad_id for section in sections)
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
            elif section.control == self.image_pad_id:
                if (picture := next(pictures, None)) is None:
                    raise _hides_pictures()
                runs.append(np.full(picture.num_tokens, section.control, dtype=np.int32))
            else:
                runs.append(np.array([section.control], dtype=np.int32))
        if last and next(pictures, None) is not None:
            raise _hides_pictures()
        return np.concatenate(runs)


def _cut(sections: Sequence[Section]) -> Layout:
    """A whole rendering as context and rest: the last turn stands between the last two control tokens."""
    marks = [i for i, section in enumerate(sections) if section.control is not None]
    at = marks[-2] + 1 if len(marks) > 1 else 0
    return Layout(tuple(sections[:at]), tuple(sections[at:]))


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


def _or_refusal(work: Callable[[], T]) -> T | InvalidRequest:
    try:
        return work()
    except InvalidRequest as error:
        return error


def _too_long(tokens: int, limit: int) -> InvalidRequest:
    message = f"the context alone has {tokens} tokens; {limit} are the limit"
    return InvalidRequest(message, code="item_too_long")


def _hides_pictures() -> InvalidRequest:
    message = "this checkpoint's template does not show every picture"
    return InvalidRequest(message, code="not_supported")
