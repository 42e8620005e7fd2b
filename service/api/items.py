"""One validated wire item to a core item: turns, pictures, responses, and which field is at fault."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from service.api.schemas import (
    ImagePart,
    ImageRef,
    ImageUrl,
    ImageUrlPart,
    Message,
    ScoreItem,
    TextPart,
)
from service.core import Item, Picture, Turn
from service.errors import InvalidRequest
from service.inputs.conversation import ImagePosition, user_turn

MAX_NAME_CHARS = 128


@dataclass(frozen=True, slots=True)
class Rules:
    """What parsing has to know of the server and its checkpoint."""

    image_position: ImagePosition
    max_text_chars: int
    max_responses: int = 8192  # of a request
    max_images: int = 1024  # distinct ones of a request, and places for them in an item
    max_turns: int = 1024  # of an item
    max_parts: int = 2048  # of all turns of an item
    max_echo_bytes: int = 32 * 2**20  # of a body that is answered as it came


@dataclass(frozen=True, slots=True)
class Context:
    """What the items of one request have in common."""

    rules: Rules
    table: Mapping[str, str | bytes]  # pictures by the name that items use
    truncate_prompt: bool = False
    sources: dict[str, str] = field(
        default_factory=dict
    )  # equal ones are one string: quick to compare


def check_sizes(item: Mapping[str, Any], rules: Rules, param: str) -> None:
    """Turns, parts and pictures are counted before any of them is looked at.

    Raises:
        InvalidRequest: more of them than the rules allow.
    """
    messages, images = item.get("messages"), item.get("images")
    if isinstance(messages, list):
        if len(messages) > rules.max_turns:
            message = f"{len(messages)} turns exceed {rules.max_turns} an item (max_turns)"
            raise InvalidRequest(message, param=joined(param, "messages"))
        parts = sum(_parts_of(message) for message in messages)
        if parts > rules.max_parts:
            message = f"{parts} parts exceed {rules.max_parts} an item (max_parts)"
            raise InvalidRequest(message, param=joined(param, "messages"))
    if isinstance(images, list) and len(images) > rules.max_images:
        message = f"{len(images)} pictures exceed {rules.max_images} an item (max_images)"
        raise InvalidRequest(message, code="too_many_images", param=joined(param, "images"))


def _parts_of(message: Any) -> int:
    content = message.get("content") if isinstance(message, dict) else None
    return len(content) if isinstance(content, list) else 1


class ItemBuilder:
    """One validated wire item to a core item."""

    def __init__(self, wire: ScoreItem, param: str, context: Context) -> None:
        self._wire = wire
        self._param = param
        self._context = context

    def item(self) -> Item:
        wire = self._wire
        if (wire.prompt is None) == (wire.messages is None):
            raise self._fault("exactly one of prompt and messages is needed")
        if wire.response is not None and wire.responses is not None:
            raise self._fault("response and responses exclude each other")
        if wire.prompt is not None:
            system, turns, last = wire.system, self._prompt_turns(wire.prompt), None
        else:
            system, turns, last = self._message_turns(wire.messages or [])
        return Item(
            turns=turns,
            responses=self._responses(last),
            system=None if system is None else self._text(system, "system"),
            truncate_prompt=self._context.truncate_prompt,
            param=self._param or "item",
        )

    def _responses(self, last: str | None) -> tuple[str, ...]:
        wire = self._wire
        given = wire.responses if wire.responses is not None else wire.response
        if last is not None:
            if given is not None:
                raise self._fault(
                    "messages that end in an assistant turn take no response beside it"
                )
            return (last,)
        if given is None:
            raise self._fault("a response is needed: response, responses, or a last assistant turn")
        if isinstance(given, str):
            return (self._text(given, "response"),)
        return tuple(self._text(x, f"responses[{i}]", i) for i, x in enumerate(given))

    def _prompt_turns(self, prompt: str) -> tuple[Turn, ...]:
        wire = self._wire
        if not prompt:
            raise self._fault("the prompt is empty", "prompt")
        if wire.image is not None and wire.images is not None:
            raise self._fault("image and images exclude each other")
        named = (
            [("image", wire.image)]
            if wire.image is not None
            else [(f"images[{i}]", source) for i, source in enumerate(wire.images or [])]
        )
        pictures = [self._picture(source, where) for where, source in named]
        text = self._text(prompt, "prompt")
        try:
            return (user_turn(text, pictures, self._context.rules.image_position, wire.image_tag),)
        except InvalidRequest as error:
            raise self._fault(error.message) from None

    def _message_turns(
        self, messages: list[Message]
    ) -> tuple[str | None, tuple[Turn, ...], str | None]:
        wire, system, last = self._wire, self._wire.system, None
        if wire.image is not None or wire.images is not None or wire.image_tag is not None:
            raise self._fault("with messages, pictures stand in the messages' parts")
        turns = [Turn(m.role, self._parts(m, f"messages[{i}]")) for i, m in enumerate(messages)]
        if turns[0].role == "system":
            if system is not None:
                raise self._fault("system and a system turn exclude each other")
            system = self._only_text(turns.pop(0), "messages[0]")
        if turns and turns[-1].role == "assistant":
            last = self._only_text(turns.pop(), f"messages[{len(messages) - 1}]")
        if any(turn.role == "system" for turn in turns):
            raise self._fault("a system turn can only be the first")
        if not turns or turns[-1].role != "user":
            raise self._fault("the context must end in a user turn", "messages")
        if not any(part for turn in turns for part in turn.parts):
            raise self._fault("the context is empty", "messages")
        return system, tuple(turns), last

    def _parts(self, message: Message, where: str) -> tuple[str | Picture, ...]:
        if isinstance(message.content, str):
            return (self._text(message.content, f"{where}.content"),)
        return tuple(
            self._text(part.text, f"{where}.content[{j}]")
            if isinstance(part, TextPart)
            else self._part_picture(part, f"{where}.content[{j}]")
            for j, part in enumerate(message.content)
        )

    def _part_picture(self, part: ImagePart | ImageUrlPart, where: str) -> Picture:
        if isinstance(part, ImagePart):
            return self._picture(part.image, where)
        url = part.image_url.url if isinstance(part.image_url, ImageUrl) else part.image_url
        source = ImageRef(ref=url[4:]) if url.startswith("ref:") else url
        return self._picture(source, where)

    def _only_text(self, turn: Turn, where: str) -> str:
        if not all(isinstance(part, str) for part in turn.parts):
            raise self._fault(f"a picture cannot stand in a {turn.role} turn here", where)
        return "".join(str(part) for part in turn.parts)

    def _picture(self, source: str | ImageRef, where: str) -> Picture:
        param = joined(self._param, where)
        if isinstance(source, str):
            return Picture(self._context.sources.setdefault(source, source), param)
        table = self._context.table
        if source.ref not in table:
            message = f"no picture {source.ref[:64]!r} came with the request"
            raise InvalidRequest(message, code="unknown_image_ref", param=param)
        return Picture(table[source.ref], param)

    def _text(self, text: str, where: str, response: int | None = None) -> str:
        limit = self._context.rules.max_text_chars
        return checked_text(text, limit, joined(self._param, where), response)

    def _fault(self, message: str, where: str = "") -> InvalidRequest:
        return InvalidRequest(message, param=joined(self._param, where) or None)


def checked_text(text: str, limit: int, param: str | None, response: int | None = None) -> str:
    """
    Raises:
        InvalidRequest: item_too_long.
    """
    if len(text) > limit:
        message = f"{len(text)} characters exceed {limit} a text (max_text_chars)"
        raise InvalidRequest(message, code="item_too_long", param=param, response=response)
    return text


def joined(param: str, where: str) -> str:
    """A field inside a field; a caller's own long key is not repeated at length."""
    if len(where) > MAX_NAME_CHARS:
        where = where[:MAX_NAME_CHARS] + "…"
    return f"{param}.{where}" if param and where else param or where
