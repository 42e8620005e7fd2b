"""Conversation to token ids: the checkpoint's chat template over whole texts, with user text that stays text."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from service.core import Item, Patches
from service.errors import InvalidRequest, StartError
from service.model.control import ControlTokens, Section
from service.model.courtesy import courteous
from service.model.manifest import Pool, TemplateRules
from service.model.rendering import Messages, Renderer, Shape, answered
from service.model.skeleton import Skeletons
from service.model.template_files import default_template
from service.model.template_trial import check_ends, check_texts, shows_pictures
from service.model.tokens import control_ids, read_tokenizer, without_control

T = TypeVar("T")
Ids = NDArray[np.int32]
Request = tuple[Item, Sequence[Patches]]  # an item and the pictures of its turns, in order
IMAGE_PAD = "<|image_pad|>"


@dataclass(frozen=True, slots=True)
class Layout:
    """One response's sections; `head` is one object for all responses that share it."""

    head: list[Section]
    tail: list[Section]


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
        self._plain = without_control(self._tokenizer, ids)
        self._is_control = np.zeros(len(self._tokenizer), dtype=np.bool_)  # [token ids]
        self._is_control[list(ids.values())] = True
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

    def encode(self, item: Item, grids: Sequence[Patches]) -> list[Ids]:
        """As `encode_all`, for one item.

        Raises:
            InvalidRequest: not_supported.
        """
        (encoded,) = self.encode_all([(item, grids)])
        if isinstance(encoded, InvalidRequest):
            raise encoded
        return encoded

    def encode_all(self, requests: Sequence[Request]) -> list[list[Ids] | InvalidRequest]:
        """Token ids of each response's whole sequence, ending at the pooled token; or what refuses the item.

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
            else _or_refusal(partial(self._joined, x, ids, grids))
            for x, (_, grids) in courteous(zip(laid, requests, strict=True))
        ]

    def context_tokens(self, sequences: Sequence[Ids]) -> int:
        """How many leading tokens the sequences share up to the last turn's role; 0 if they differ there.

        The last turn stands between the last two control tokens; user text holds none.
        """
        first = sequences[0]
        marks = np.flatnonzero(self._is_control[first])
        count = int(marks[-2]) + 1 if len(marks) > 1 else 0
        same = all(np.array_equal(first[:count], other[:count]) for other in sequences[1:])
        return count if same else 0

    def drop_front(self, text: str, tokens: int) -> tuple[str, int]:
        """The text without at least its first `tokens` tokens, and how many it lost.

        A character can be several tokens: it goes as a whole, so that every call shortens the text.
        """
        offsets = self._plain.encode(text, add_special_tokens=False).offsets
        if tokens >= len(offsets):
            return "", len(offsets)
        end = offsets[tokens - 1][1]
        kept = (i for i, (start, _) in enumerate(offsets) if i >= tokens and start >= end)
        return text[end:], next(kept, len(offsets))

    # Sections

    def _layouts(self, item: Item) -> list[Layout]:
        shape, texts = self._renderer.conversation(item)
        texts = [self._control.hide(text) for text in texts]
        heads: dict[bool, tuple[list[Section], str, str] | None] = {}  # by emptiness of response
        layouts = []
        for response in item.responses:
            whole, hidden = answered(shape, response), self._control.hide(response)
            if (empty := not response) not in heads:
                heads[empty] = self._head(whole, texts)
            if (known := heads[empty]) is not None:
                head, before, after = known
                layouts.append(Layout(head, self._pooled(before + hidden + after)))
            else:
                rendered = self._renderer.render(whole, [*texts, hidden])
                layouts.append(Layout([], self._pooled(rendered)))
        return layouts

    def _head(self, shape: Shape, texts: list[str]) -> tuple[list[Section], str, str] | None:
        """The sections before the one that holds the response, and the text around the response there."""
        skeleton = self._skeletons.of(shape)
        around = skeleton.around_last(texts) if skeleton else None
        if around is None:
            return None
        before, after = around
        cut = self._control.last_end(before)
        return self._control.sections(before[:cut]), before[cut:], after

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

    # Token ids

    def _tokenised(self, texts: Iterable[str]) -> dict[str, Ids]:
        distinct = list(dict.fromkeys(texts))
        encodings = self._plain.encode_batch_fast(distinct, add_special_tokens=False)
        pairs = zip(distinct, encodings, strict=True)
        return {text: np.asarray(e.ids, dtype=np.int32) for text, e in pairs}

    def _joined(
        self, layouts: list[Layout], ids: Mapping[str, Ids], grids: Sequence[Patches]
    ) -> list[Ids]:
        heads: dict[int, tuple[Ids, int]] = {}
        joined = []
        for layout in layouts:
            if id(layout.head) not in heads:
                pictures = iter(grids)
                whole = self._run(layout.head, ids, pictures)
                heads[id(layout.head)] = whole, len(grids) - len(list(pictures))
            head, shown = heads[id(layout.head)]
            pictures = iter(grids[shown:])
            joined.append(np.concatenate([head, self._run(layout.tail, ids, pictures)]))
            if next(pictures, None) is not None:
                raise _hides_pictures()
        return joined

    def _run(
        self, sections: list[Section], ids: Mapping[str, Ids], pictures: Iterator[Patches]
    ) -> Ids:
        runs = [np.empty(0, dtype=np.int32)]
        for section in sections:
            if section.control is None:
                runs.append(ids[section.text])
            elif section.control == self.image_pad_id:
                if (picture := next(pictures, None)) is None:
                    raise _hides_pictures()
                runs.append(np.full(picture.num_tokens, section.control, dtype=np.int32))
            else:
                runs.append(np.array([section.control], dtype=np.int32))
        return np.concatenate(runs)


def _or_refusal(work: Callable[[], T]) -> T | InvalidRequest:
    try:
        return work()
    except InvalidRequest as error:
        return error


def _hides_pictures() -> InvalidRequest:
    message = "this checkpoint's template does not show every picture"
    return InvalidRequest(message, code="not_supported")
