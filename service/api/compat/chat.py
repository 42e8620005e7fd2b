"""A prompt that is itself a chat, as parsed JSON or as a JSON string, and pictures that came in a label."""

from collections.abc import Iterator
from typing import Any

from service.api.endpoint import Sent
from service.api.strict_json import JsonReader
from service.errors import InvalidRequest
from service.inputs.templated import ANSWER, PICTURE, Chat, Part, answer_of, cut, pictures_in

MAX_INDENT_CHARS = 256  # before the first turn of a chat that is written as JSON
LABELS = ("label", "labels")  # what `image_from` may say


def messages_in(prompt: str, json: JsonReader) -> list[Any] | None:
    """The turns of a chat that is written as JSON, as LMM-R1 passes it on; None: it is other text.

    Raises:
        InvalidRequest: beyond the budget of the request's JSON.
    """
    if "".join(prompt[:MAX_INDENT_CHARS].split())[:2] != "[{":
        return None
    value = json.read_text(prompt)
    chat = isinstance(value, list) and value and all(map(_is_message, value))
    return value if chat else None


def answered(query: str, messages: list[Any]) -> tuple[Chat, list[Any]]:
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


def chat_of(messages: list[Any], response: str) -> tuple[Chat, list[Any]]:
    """
    Raises:
        InvalidRequest: not turns of text and pictures.
    """
    if not all(map(_is_message, messages)):
        raise InvalidRequest("each turn of the chat needs a role and a content, text or a list")
    pictures: list[Any] = []
    turns = tuple((m["role"], tuple(_parts(m["content"], pictures))) for m in messages)
    return Chat(turns, response), pictures


def image_from(sent: Sent) -> bool:
    """Whether the request says that its labels hold pictures.

    Raises:
        InvalidRequest: that something else does.
    """
    named = sent.query.get("image_from")
    if named is not None and named not in LABELS:
        raise InvalidRequest(f"one of {', '.join(LABELS)}", param="image_from")
    return named is not None


def label_pictures(label: Any, json: JsonReader) -> list[Any]:
    """The pictures of a label: a source, a list of them, or an object that has either under `image` or `images`.

    Raises:
        InvalidRequest: beyond the budget of the request's JSON.
    """
    if isinstance(label, str) and label[:1] in ("{", "["):
        label = json.read_text(label) or label
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
            yield _text_of(part)
        elif kind in ("image", "image_url"):
            source = part.get(kind)
            pictures.append(
                source.get("url") if kind == "image_url" and isinstance(source, dict) else source
            )
            yield PICTURE
        else:
            raise InvalidRequest("a part of the chat is neither text nor a picture")


def _text_of(part: dict[str, Any]) -> str:
    text = part.get("text", "")
    if not isinstance(text, str):
        raise InvalidRequest("the text of a part must be a text")
    return text


def _is_message(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and isinstance(value.get("role"), str)
        and isinstance(value.get("content"), str | list)
    )


def _in_order(texts: list[str], whole: str) -> bool:
    at = 0
    for text in texts:
        found = whole.find(text.strip(), at)
        if found < 0:
            return False
        at = found + len(text.strip())
    return True
