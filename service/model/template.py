"""Conversation to token ids: the checkpoint's chat template over whole texts, with user text that stays text."""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer
from transformers import AutoTokenizer

from service.core import Item, Patches, Picture, Turn
from service.errors import InvalidRequest, StartError
from service.model.manifest import Pool, TemplateRules

Ids = NDArray[np.int32]
IMAGE_PAD = "<|image_pad|>"

# A Unicode noncharacter: put after the "<" of a control token in user text, it keeps the token from
# being one while the template is rendered. User text that holds it has it doubled, so nothing is lost.
_HIDE = "\ufdd0"
_UNHIDE = re.compile(_HIDE + "(" + _HIDE + "?)")
_NO_SYSTEM = "\ufdd1system\ufdd1"


@dataclass(frozen=True, slots=True)
class Section:
    """A stretch of rendered text: one control token, or plain text between two of them."""

    text: str
    control: int | None  # its id


class ChatTemplate:
    """The tokenizer twice: as it is, for the template's control tokens, and without them, for text."""

    def __init__(self, folder: Path, rules: TemplateRules, pool: Pool) -> None:
        """
        Raises:
            StartError: no tokenizer, or no chat template, in the folder.
        """
        try:
            self._tokenizer = AutoTokenizer.from_pretrained(
                folder, trust_remote_code=False, local_files_only=True
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StartError(f"no usable tokenizer in {folder}: {_line(error)}") from None
        self._tokenizer.chat_template = _processor_template(folder) or self._tokenizer.chat_template
        if not self._tokenizer.chat_template:
            raise StartError(f"{folder} has no chat template (chat_template.jinja)")
        try:
            self._apply([{"role": "user", "content": "probe"}])
        except Exception as error:  # noqa: BLE001 - Jinja raises what a template makes it raise
            raise StartError(f"the chat template cannot be rendered: {_line(error)}") from None
        self._rules = rules
        self._pool = pool
        self._control = _control_tokens(self._tokenizer)
        if IMAGE_PAD not in self._control:
            raise StartError(f"the tokenizer has no {IMAGE_PAD} token")
        longest_first = sorted(self._control, key=len, reverse=True)
        self._pattern = re.compile("(" + "|".join(map(re.escape, longest_first)) + ")")
        self._plain = _without_control(self._tokenizer, self._control)
        self.image_pad_id = self._control[IMAGE_PAD]
        self.pad_id = self._tokenizer.pad_token_id or 0

    @property
    def source(self) -> dict[str, Any]:
        """What decides the token ids, for the fingerprint."""
        backend = json.loads(self._tokenizer.backend_tokenizer.to_str())
        kept = {k: backend[k] for k in ("normalizer", "pre_tokenizer", "model", "added_tokens")}
        return {"tokenizer": kept, "chat_template": self._tokenizer.chat_template}

    def has_control_text(self, text: str) -> bool:
        return self._pattern.search(text) is not None

    def encode(self, item: Item, grids: Sequence[Patches]) -> list[Ids]:
        """Token ids of each response's whole sequence, ending at the pooled token.

        Every plain stretch between two control tokens is tokenised in one piece, response and
        template together: the line break before it and a response that starts with a newline merge as they
        did in training.

        Args:
            item: its context and responses.
            grids: the pictures of the item's turns, in order.
        """
        rendered = [self._pooled(self._sections(item, response)) for response in item.responses]
        texts = list({s.text for sections in rendered for s in sections if s.control is None})
        encodings = self._plain.encode_batch_fast(texts, add_special_tokens=False)
        ids = {text: e.ids for text, e in zip(texts, encodings, strict=True)}
        return [self._join(sections, ids, grids) for sections in rendered]

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

    # Rendering

    def _sections(self, item: Item, response: str) -> list[Section]:
        text = self._render(item, (*item.turns, Turn("assistant", (response,))))
        pieces = self._pattern.split(text)
        return [
            Section(piece, self._control[piece]) if i % 2 else Section(_reveal(piece), None)
            for i, piece in enumerate(pieces)
            if piece
        ]

    def _render(self, item: Item, turns: Iterable[Turn]) -> str:
        messages = [self._message(turn) for turn in turns]
        system = self._rules.system if item.system is None else item.system
        if system == "default" and item.system is None:
            return self._apply(messages)
        if system:
            return self._apply([{"role": "system", "content": self._hide(system)}, *messages])
        return self._without_system(messages)

    def _without_system(self, messages: list[dict[str, Any]]) -> str:
        """Templates such as Qwen's add a default system turn unless there is one: add one and cut it off."""
        marked = {"role": "system", "content": _NO_SYSTEM}
        head, whole = self._apply([marked]), self._apply([marked, *messages])
        if not whole.startswith(head):
            message = "this checkpoint's template cannot leave out the system turn"
            raise InvalidRequest(message, code="not_supported")
        return whole[len(head) :]

    def _message(self, turn: Turn) -> dict[str, Any]:
        if all(isinstance(part, str) for part in turn.parts):
            return {"role": turn.role, "content": self._hide("".join(map(str, turn.parts)))}
        parts = [
            {"type": "image"}
            if isinstance(part, Picture)
            else {"type": "text", "text": self._hide(part)}
            for part in turn.parts
        ]
        return {"role": turn.role, "content": parts}

    def _apply(self, messages: list[dict[str, Any]]) -> str:
        text = self._tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=False
        )
        return str(text)

    def _hide(self, text: str) -> str:
        if _HIDE in text:
            text = text.replace(_HIDE, _HIDE * 2)
        return self._pattern.sub(lambda m: m[0][0] + _HIDE + m[0][1:], text)

    # Token ids

    def _pooled(self, sections: list[Section]) -> list[Section]:
        """Cut what stands after the pooled token: attention is causal, so it cannot matter."""
        last = sections[-1]
        strip = self._pool == "last_strip_newline" and last.control is None
        return sections[:-1] if strip and not last.text.strip("\n") else sections

    def _join(
        self, sections: list[Section], ids: dict[str, list[int]], grids: Sequence[Patches]
    ) -> Ids:
        if sum(s.control == self.image_pad_id for s in sections) != len(grids):
            message = "this checkpoint's template does not show every picture"
            raise InvalidRequest(message, code="not_supported")
        pictures = iter(grids)
        joined: list[int] = []
        for section in sections:
            if section.control is None:
                joined += ids[section.text]
            elif section.control == self.image_pad_id:
                joined += [section.control] * next(pictures).num_tokens
            else:
                joined.append(section.control)
        return np.asarray(joined, dtype=np.int32)


def _processor_template(folder: Path) -> str | None:
    """The processor's template, which knows pictures, where it stands apart from the tokenizer's."""
    path = folder / "chat_template.json"
    if not path.is_file() or (folder / "chat_template.jinja").is_file():
        return None
    try:
        return str(json.loads(path.read_text("utf-8"))["chat_template"])
    except (ValueError, KeyError, TypeError):
        raise StartError("chat_template.json holds no chat template") from None


def _control_tokens(tokenizer: Any) -> dict[str, int]:
    """Every added token that structures a conversation: marked special, or spelled <|…|>."""
    return {
        str(token): index
        for index, token in tokenizer.added_tokens_decoder.items()
        if token.special or re.fullmatch(r"<\|.+\|>", str(token))
    }


def _without_control(tokenizer: Any, control: dict[str, int]) -> Tokenizer:
    """The same tokenizer for which control tokens are ordinary characters."""
    spec = json.loads(tokenizer.backend_tokenizer.to_str())
    spec["added_tokens"] = [t for t in spec["added_tokens"] if t["content"] not in control]
    spec["post_processor"] = spec["truncation"] = spec["padding"] = None
    return Tokenizer.from_str(json.dumps(spec))


def _reveal(text: str) -> str:
    return _UNHIDE.sub(r"\1", text) if _HIDE in text else text


def _line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
