"""A prompt that is itself a chat, as parsed JSON or as a JSON string, and pictures that came in a label."""

from collections.abc import Iterator
from typing import Any

import orjson

from service.errors import InvalidRequest
from service.inputs.templated import ANSWER, PICTURE, Chat, Part, answer_of, cut, pictures_in

Messages = list[dict[str, Any]]
LABELS = ("label", "labels")  # what `image_from` may say


def messages_in(prompt: str) -> Messages | None:
    """The turns of a chat that is written as JSON, as LMM-R1 passes it on; None: it is other text."""
    value = _json(prompt)
    chat = isinstance(value, list) and value and all(map(_is_message, value))
    return value if chat else None


def answered(query: str, messages: Messages) -> tuple[Chat, list[Any]]:
    """The chat with the answer that the query, its templated form, ends in, and the chat's pictures.

    Raises:
        InvalidRequest: the query is not this chat.
    """
    chat, pictures = chat_of(messages, "")
    texts = [part for _, parts in chat.turns for part in parts if part]
    own = sum(text.count(ANSWER) for text in texts)
    own += sum(role == "assistant" for role, _ in chat.turns)
    head, tail = cut(query, own + 1)
    if not _in_order(texts, head) or pictures_in(head) != len(pictures):
        raise InvalidRequest("the query does not begin with the prompt's chat")
    return Chat(chat.turns, answer_of(tail)), pictures


def chat_of(messages: Messages, response: str) -> tuple[Chat, list[Any]]:
    """
    Raises:
        InvalidRequest: not turns of text and pictures.
    """
    pictures: list[Any] = []
    turns = tuple((m["role"], tuple(_parts(m["content"], pictures))) for m in messages)
    return Chat(turns, response), pictures


def label_pictures(label: Any, image_from: str | None) -> list[Any]:
    """The pictures of a label, if that is where they are: a source, a list of them, or an object that has either
    under `image` or `images`.

    Raises:
        InvalidRequest: `image_from` names something else.
    """
    if image_from is None:
        return []
    if image_from not in LABELS:
        raise InvalidRequest(f"one of {', '.join(LABELS)}", param="image_from")
    if isinstance(label, str) and label[:1] in ("{", "["):
        label = _json(label) or label
    if isinstance(label, dict):
        label = label.get("images") or label.get("image")
    if not label:
        return []
    return label if isinstance(label, list) else [label]


def _parts(content: Any, pictures: list[Any]) -> Iterator[Part]:
    if isinstance(content, str):
        yield content
        return
    for part in content:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind == "text":
            yield str(part.get("text", ""))
        elif kind in ("image", "image_url"):
            source = part.get(kind)
            pictures.append(
                source.get("url") if kind == "image_url" and isinstance(source, dict) else source
            )
            yield PICTURE
        else:
            raise InvalidRequest("a part of the chat is neither text nor a picture")


def _is_message(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and isinstance(value.get("role"), str)
        and isinstance(value.get("content"), str | list)
    )


def _json(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return None


def _in_order(texts: list[str], whole: str) -> bool:
    at = 0
    for text in texts:
        found = whole.find(text.strip(), at)
        if found < 0:
            return False
        at = found + len(text.strip())
    return True
