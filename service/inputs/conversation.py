"""Prompt and pictures to the turns of a conversation: where each picture stands in the text."""

from collections.abc import Sequence
from typing import Literal

from service.core import Picture, Turn
from service.errors import InvalidRequest

ImagePosition = Literal["before_text", "after_text"]


def user_turn(
    prompt: str, pictures: Sequence[Picture], position: ImagePosition, image_tag: str | None = None
) -> Turn:
    """One user turn with the pictures where the checkpoint, or the tags in the text, put them.

    Raises:
        InvalidRequest: with `image_tag`, the tags in the prompt and the pictures differ in number.
    """
    if image_tag is not None:
        return Turn("user", _at_tags(prompt, pictures, image_tag))
    if position == "after_text":
        return Turn("user", (prompt, *pictures))
    return Turn("user", (*pictures, prompt))


def _at_tags(prompt: str, pictures: Sequence[Picture], tag: str) -> tuple[str | Picture, ...]:
    count = prompt.count(tag)
    if count != len(pictures):
        raise InvalidRequest(f"the prompt has {count} image tags for {len(pictures)} pictures")
    texts = prompt.split(tag)
    parts: list[str | Picture] = [texts[0]]
    for picture, text in zip(pictures, texts[1:], strict=True):
        parts += [picture, text]
    return tuple(part for part in parts if part != "")
