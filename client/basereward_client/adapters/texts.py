"""Prompts, pictures and answers as trainers hold them, brought to the items a client takes; scores nothing.

What cannot be taken apart exactly is a ValueError: a guessed text would be scored, and nobody would see it.
"""

import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from basereward_client.pictures import image_of

Item = dict[str, Any]
Turn = Mapping[str, Any]

_ENCODED = ("http://", "https://", "data:", "iVBORw0KGgo", "/9j/", "UklGR")  # PNG, JPEG, WebP
_OPENING = "<|im_start|>assistant\n"
_TURN = re.compile(r"<\|im_start\|>(system|user|assistant)\n(.*?)<\|im_end\|>\n?", re.DOTALL)
# A processor repeats the pad once a picture token; some trainers drop the tokens around it.
_PICTURE = re.compile(
    r"<\|vision_start\|>(?:<\|image_pad\|>)+<\|vision_end\|>|(?:<\|image_pad\|>)+"
)
_CHATML = re.compile(r"<\|(?:im_start|im_end|vision_start|vision_end|image_pad|video_pad)\|>")
_TOKEN = re.compile(r"<\|\w+\|>|<｜[^｜]+｜>|<start_of_turn>|\[/?INST\]|\A<s>|\A<bos>")
_PAD = "<|endoftext|>"
_PADDING = re.compile(r"\A(?:<\|endoftext\|>)+")
_ENDS = ("<|im_end|>", "<|im_end|>\n")
_ENDS_OF_PLAIN = (*_ENDS, "</s>", "<eos>")


def context(prompt: str | Sequence[Turn], images: Iterable[Any] | None = None) -> Item:
    """The context of an item: a text with pictures before it, or chat turns with pictures in them."""
    if not isinstance(prompt, str):
        return {"messages": seated(prompt, images)}
    pictures = _pictures(images)
    return {"prompt": prompt, "images": pictures} if pictures else {"prompt": prompt}


def seated(turns: Iterable[Turn], images: Iterable[Any] | None = None) -> list[Item]:
    """Chat turns with a picture in every place: the turns' own, else `images` in order.

    Turns without a place get all `images` before the first user's text, as trainers do.
    """
    messages = [{"role": turn["role"], "content": _content(turn["content"])} for turn in turns]
    places = [part for message in messages for part in _places(message)]
    empty = [part for part in places if part["image"] is None]
    pictures = _pictures(images)
    wanted = empty or (places if pictures else [])
    if pictures and not places:
        _put_first(messages, pictures)
    elif len(empty) not in (0, len(places)) or len(pictures) != len(wanted):
        raise ValueError(f"{len(places)} pictures stand in the turns, {len(pictures)} were given")
    for place, image in zip(empty, pictures, strict=False):
        place["image"] = image
    return messages


def described(row: Mapping[str, Any]) -> Item:
    """The context in a dataset's row: `image` or `images`, and `prompt` or `question`, text or chat turns.

    `<image>` in a text is a picture's place.
    """
    stated = (row.get(name) for name in ("prompt", "question"))
    prompt = next((value for value in stated if not is_empty(value)), None)
    if prompt is None:
        raise ValueError(f"a row needs a prompt or a question; this one has {sorted(row)}")
    images, single = row.get("images"), row.get("image")
    if images is None or is_empty(images):
        images = [] if single is None else [single]
    if not isinstance(prompt, str):
        return context([{**turn, "content": placed(turn["content"])} for turn in prompt], images)
    text = placed(prompt)
    return context(text if text is prompt else [{"role": "user", "content": text}], images)


def is_empty(value: Any) -> bool:
    """None, or of no length: an array, as a row of a data frame holds it, has no truth of its own."""
    return value is None or (isinstance(value, Sized) and len(value) == 0)


def placed(content: Any) -> Any:
    """A turn's text with `<image>` in it as parts; any other content as it is."""
    has_places = isinstance(content, str) and "<image>" in content
    return tagged(content) if has_places else content


def tagged(text: str, tag: str = "<image>") -> list[Item]:
    """A text in which each `tag` is a picture's place, as parts."""
    return _interleaved(text.split(tag))


def rollout(prompt: str, response: str, images: Sequence[Any] | None = None) -> Item:
    """A prompt and what a policy wrote after it, as decoded: templated (ChatML) or plain.

    A run of image pads is one picture. Text that the template opened for the assistant belongs to the response.
    """
    prompt = _PADDING.sub("", prompt)
    if found := _TOKEN.search(prompt):
        head, opened, begun = prompt.rpartition(_OPENING)
        if not opened or _TOKEN.search(begun):
            raise ValueError(f"the prompt holds {found[0]} but no open ChatML assistant turn")
        turns = list(_turns(head))
        if not is_empty(images) and all(isinstance(turn["content"], str) for turn in turns):
            raise ValueError("pictures were given, but the templated prompt shows none")
        text = _ended(begun + response, _ENDS)
        return {"messages": seated(turns, images), "response": text}
    return context(prompt, images) | {"response": ended(response)}


def ended(response: str) -> str:
    """A decoded response without the tokens that end it, of whatever tokenizer."""
    return _ended(response, _ENDS_OF_PLAIN)


def _ended(text: str, ends: tuple[str, ...]) -> str:
    """Without the padding at its end, and then one of the ends."""
    stop = len(text)
    while text.endswith(_PAD, 0, stop):
        stop -= len(_PAD)
    longest = max((len(end) for end in ends if text.endswith(end, 0, stop)), default=0)
    return text[: stop - longest]


def continuation(query: str, prompt: str) -> str:
    """What follows `prompt` in `query`, in which each picture may have grown to more pads."""
    query, prompt = _PADDING.sub("", query), _PADDING.sub("", prompt)
    pieces = (re.escape(piece) for piece in _PICTURE.split(prompt))
    match = re.match(f"(?:{_PICTURE.pattern})".join(pieces), query)
    if match is None:
        raise ValueError("the query does not begin with its prompt")
    return query[match.end() :]


def picture(value: Any) -> Any:
    """A trainer's picture as the client takes it: other than to the client, a bare text names a file."""
    if isinstance(value, Mapping) and value.get("bytes") is None and value.get("path") is not None:
        return picture(value["path"])
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, numpy.ndarray):
        # A PIL image, unlike an array, can be compared with a sibling's.
        return image_of(value)
    if not isinstance(value, str) or value.startswith(_ENCODED):
        return value
    return Path(unquote(urlsplit(value).path) if value.startswith("file://") else value)


def _pictures(images: Iterable[Any] | None) -> list[Any]:
    return [] if images is None else [picture(image) for image in images]


def grouped(contexts: Sequence[Item], responses: Sequence[str]) -> tuple[list[Item], list[int]]:
    """Neighbours of equal context as one item of many responses; and the item of each response."""
    items: list[Item] = []
    indices = []
    for index, (new, response) in enumerate(zip(contexts, responses, strict=True)):
        if not index or new != contexts[index - 1]:
            items.append({**new, "responses": []})
        items[-1]["responses"].append(response)
        indices.append(len(items) - 1)
    return items, indices


def _content(content: Any) -> Any:
    return content if isinstance(content, str) else [_part(part) for part in content]


def _part(part: Turn) -> Item:
    """A block with only the keys of its type: Arrow fills the others with nulls."""
    if part["type"] == "text":
        return {"type": "text", "text": part["text"]}
    if part["type"] == "image_url":
        return {"type": "image", "image": picture(part["image_url"]["url"] or None)}
    if part["type"] != "image":
        return dict(part)
    row = {key: part[key] for key in ("bytes", "path") if part.get(key) is not None}
    return {"type": "image", "image": picture(row or part.get("image"))}


def _places(message: Item) -> Iterator[Item]:
    if not isinstance(message["content"], str):
        yield from (part for part in message["content"] if part["type"] == "image")


def _put_first(messages: list[Item], pictures: list[Any]) -> None:
    user = next(message for message in messages if message["role"] == "user")
    text = user["content"]
    rest = [{"type": "text", "text": text}] if isinstance(text, str) else text
    user["content"] = [*({"type": "image", "image": image} for image in pictures), *rest]


def _turns(head: str) -> Iterator[Item]:
    """The complete ChatML turns that a text is made of."""
    at = 0
    while match := _TURN.match(head, at):
        pieces = _PICTURE.split(match[2])
        if any(_CHATML.search(piece) for piece in pieces):
            raise ValueError("a turn of the prompt holds template tokens that are no picture's")
        yield {"role": match[1], "content": _interleaved(pieces) if pieces[1:] else match[2]}
        at = match.end()
    if at != len(head) or not head:
        raise ValueError("the prompt is not a sequence of ChatML turns")


def _interleaved(texts: Sequence[str]) -> list[Item]:
    """Texts as parts, with a picture's place between each two."""
    parts: list[Item] = []
    for index, text in enumerate(texts):
        parts += [{"type": "image"}] if index else []
        parts += [{"type": "text", "text": text}] if text else []
    return parts
