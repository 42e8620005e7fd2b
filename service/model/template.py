"""Conversation to token ids: the checkpoint's chat template over whole texts, with user text that stays text."""

import json
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from service.core import Item, Patches
from service.errors import InvalidRequest, StartError
from service.model.control import ControlTokens, Section
from service.model.courtesy import courteous
from service.model.manifest import Pool, TemplateRules
from service.model.rendering import Messages, Renderer, Shape, answered
from service.model.sections import Layout, SectionEncoder
from service.model.sequence import TokenSequence
from service.model.skeleton import Skeletons
from service.model.template_files import default_template
from service.model.template_trial import check_ends, check_texts, shows_pictures
from service.model.tokens import control_ids, read_tokenizer, without_control

T = TypeVar("T")
Request = tuple[Item, Sequence[Patches]]  # an item and the pictures of its turns, in order
IMAGE_PAD = "<|image_pad|>"


class ChatTemplate:
    """The tokenizer twice: as it is, for the template's control tokens, and without them, for text."""

    def __init__(self, folder: Path, rules: TemplateRules, pool: Pool) -> None:
        """
        Raises:
            StartError: no tokenizer, or no chat template, in the folder; or the template does not do.
        """
        self._tokenizer = read_tokenizer(folder)
        check_ends(default_template(self._tokenizer.chat_template))
        self._pool = pool
        self._control = ControlTokens(control_ids(self._tokenizer))
        check_texts(self._render, self._control)
        ids = self._control.ids
        if IMAGE_PAD not in ids:
            raise StartError(f"the tokenizer has no {IMAGE_PAD} token")
        self._renderer = Renderer(self._apply, rules.system)
        source = str(self._tokenizer.chat_template)
        self._skeletons = Skeletons(self._renderer.render, self._control.hide, source)
        plain = without_control(self._tokenizer, ids)
        self._sections = SectionEncoder(plain, ids[IMAGE_PAD])
        self.image_pad_id = ids[IMAGE_PAD]
        self.pad_id = self._tokenizer.pad_token_id or 0
        self.shows_pictures = shows_pictures(self._render, IMAGE_PAD)

    @property
    def largest_id(self) -> int:
        return int(max(self._tokenizer.get_vocab().values()))

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
        ids = self._sections.tokenised(
            s.text for x in good for s in (*x.head, *x.tail) if s.control is None
        )
        return [
            x
            if isinstance(x, InvalidRequest)
            else _or_refusal(partial(self._sections.sequences, x, ids, grids, max_head_tokens))
            for x, (_, grids) in courteous(zip(laid, requests, strict=True))
        ]

    def counts(self, text: str) -> Iterator[tuple[int, int]]:
        """(characters, tokens) of one slice of the text after the other."""
        return self._sections.counts(text)

    def token_ends(self, text: str) -> list[int]:
        """Where each token of the text, by itself, ends, in characters."""
        return self._sections.token_ends(text)

    # Sections

    def _layouts(self, item: Item) -> list[Layout]:
        shape, texts = self._renderer.conversation(item)
        texts = [self._control.hide(text) for text in texts]
        heads: dict[bool, tuple[tuple[Section, ...], str, str] | None] = {}  # by empty response
        known: dict[Section, Section] = {}  # siblings rendered apart share their texts
        apart: dict[str, Layout] = {}
        layouts = []
        for response in courteous(item.responses, every=256):
            whole, hidden = answered(shape, response), self._control.hide(response)
            if (empty := not response) not in heads:
                heads[empty] = self._head(whole, texts, len(item.responses))
            if (found := heads[empty]) is not None:
                head, before, after = found
                tail = self._pooled(before + hidden + after)
                layouts.append(Layout(head, tuple(tail)))
                continue
            if response not in apart:
                rendered = self._pooled(self._renderer.render(whole, [*texts, hidden]))
                apart[response] = _cut([known.setdefault(s, s) for s in rendered])
            layouts.append(apart[response])
        return layouts

    def _head(
        self, shape: Shape, texts: list[str], times: int
    ) -> tuple[tuple[Section, ...], str, str] | None:
        """The sections before the one that holds the response, and the text around the response there."""
        around = self._skeletons.around_last(shape, texts, times)
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
        try:
            return self._render(messages)
        except Exception:  # noqa: BLE001 - Jinja raises what a template makes it raise
            message = "this checkpoint's template does not take such a conversation"
            raise InvalidRequest(message, code="not_supported") from None

    def _render(self, messages: Messages) -> str:
        text = self._tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=False
        )
        return str(text)


def _cut(sections: Sequence[Section]) -> Layout:
    """A whole rendering as context and rest: the last turn stands between the last two control tokens."""
    marks = [i for i, section in enumerate(sections) if section.control is not None]
    at = marks[-2] + 1 if len(marks) > 1 else 0
    return Layout(tuple(sections[:at]), tuple(sections[at:]))


def _or_refusal(work: Callable[[], T]) -> T | InvalidRequest:
    try:
        return work()
    except InvalidRequest as error:
        return error
