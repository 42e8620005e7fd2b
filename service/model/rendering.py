"""Conversations to text through the checkpoint's chat template, as the template itself writes them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from service.core import Item, Picture
from service.errors import InvalidRequest

Messages = list[dict[str, Any]]
_NO_SYSTEM = "\ufdd1system\ufdd1"


@dataclass(frozen=True, slots=True)
class Shape:
    """A conversation without its texts: all that decides how a template puts them together."""

    system: Literal["default", "none", "text"]
    turns: tuple[tuple[str, tuple[bool, ...] | None], ...]  # role; which parts are pictures
    empty: tuple[bool, ...]  # which texts are: a template may ask


class Renderer:
    """The template, called. Texts must come with control tokens hidden."""

    def __init__(self, apply: Callable[[Messages], str], system: str) -> None:
        """
        Args:
            apply: messages to text.
            system: the manifest's rule for a conversation that names no system turn.
        """
        self._apply = apply
        self._system = system

    def conversation(self, item: Item) -> tuple[Shape, list[str]]:
        """The shape of the item's context and its texts, in order, none of them hidden yet."""
        system = self._system if item.system is None else item.system
        default = system == "default" and item.system is None
        texts = [system] if system and not default else []
        turns: list[tuple[str, tuple[bool, ...] | None]] = []
        for turn in item.turns:
            if all(isinstance(part, str) for part in turn.parts):
                turns.append((turn.role, None))
                texts.append("".join(map(str, turn.parts)))
            else:
                turns.append((turn.role, tuple(isinstance(p, Picture) for p in turn.parts)))
                texts += [part for part in turn.parts if isinstance(part, str)]
        kind: Literal["default", "none", "text"] = (
            "default" if default else "text" if system else "none"
        )
        return Shape(kind, tuple(turns), tuple(not text for text in texts)), texts

    def render(self, shape: Shape, texts: Sequence[str]) -> str:
        """
        Raises:
            InvalidRequest: not_supported; the template cannot leave out the system turn.
        """
        left = iter(texts)
        system = [{"role": "system", "content": next(left)}] if shape.system == "text" else []
        messages = [{"role": role, "content": _content(p, left)} for role, p in shape.turns]
        if shape.system == "none":
            return self._without_system(messages)
        return self._apply([*system, *messages])

    def _without_system(self, messages: Messages) -> str:
        """Templates such as Qwen's add a default system turn unless there is one: add one and cut it off."""
        marked = {"role": "system", "content": _NO_SYSTEM}
        head, whole = self._apply([marked]), self._apply([marked, *messages])
        if not whole.startswith(head):
            message = "this checkpoint's template cannot leave out the system turn"
            raise InvalidRequest(message, code="not_supported")
        return whole[len(head) :]


def answered(shape: Shape, response: str) -> Shape:
    """The conversation with its response as the last turn and the last text."""
    turns = (*shape.turns, ("assistant", None))
    return Shape(shape.system, turns, (*shape.empty, not response))


def _content(parts: tuple[bool, ...] | None, texts: Iterator[str]) -> str | Messages:
    if parts is None:
        return next(texts)
    return [{"type": "image"} if p else {"type": "text", "text": next(texts)} for p in parts]
