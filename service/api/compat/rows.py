"""What the trainers' formats have in common: their rows as native items, and rewards as flat lists."""

from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from service.api.answers import transformed
from service.api.endpoint import Sent
from service.api.faults import fault
from service.api.items import checked_text
from service.api.parsing import ParsedRequest
from service.batching.planner import Outcome
from service.engine import Scored
from service.errors import InvalidRequest, ServiceError
from service.inputs.templated import PICTURE, Chat, num_chars

M = TypeVar("M", bound=BaseModel)
MOST_PADDED = 16  # times the limit: beyond this, pads and padding are not told from text any more


def read_body(sent: Sent, model: type[M]) -> M:
    """
    Raises:
        InvalidRequest: not JSON, or not this format.
    """
    value = sent.json.read(sent.body)
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise fault(error, value, "") from None


def templated_text(text: str, limit: int, param: str | None = None) -> str:
    """A text to be taken apart; the pads of its pictures and its padding do not count.

    Raises:
        InvalidRequest: item_too_long.
    """
    if limit < len(text) <= MOST_PADDED * limit and num_chars(text) <= limit:
        return text
    return checked_text(text, limit, param)


def flat(parsed: ParsedRequest, scored: Scored) -> list[float]:
    """Rewards in the order of the rows; every one is there, since one bad row refuses the request."""
    transform = parsed.options.transform
    return [transformed(_reward(o), transform) for group in scored.outcomes for o in group]


def _reward(outcome: Outcome) -> float:
    assert not isinstance(outcome, ServiceError), "a bad row was answered; this is a bug"
    return outcome


def native(chat: Chat, pictures: Sequence[Any]) -> dict[str, Any]:
    """A conversation as a native item, with its pictures where it shows them.

    Raises:
        InvalidRequest: it shows more or fewer pictures than came. One that shows none takes them as a prompt does,
            where the checkpoint puts them.
    """
    shown = chat.pictures
    if shown == 0 and pictures:
        return _as_prompt(chat, pictures)
    if shown != len(pictures):
        raise InvalidRequest(f"the prompt shows {shown} pictures; {len(pictures)} came with it")
    left = iter(pictures)
    messages = [{"role": role, "content": _content(parts, left)} for role, parts in chat.turns]
    return {"messages": messages, "response": chat.response}


def _as_prompt(chat: Chat, pictures: Sequence[Any]) -> dict[str, Any]:
    turns = list(chat.turns)
    if not turns:
        raise InvalidRequest("the prompt has no turns")
    system = turns.pop(0) if turns[0][0] == "system" else None
    if len(turns) != 1:
        raise InvalidRequest("the conversation does not show where its pictures stand")
    item = {"prompt": _text(turns[0][1]), "images": list(pictures), "response": chat.response}
    return item if system is None else item | {"system": _text(system[1])}


def _text(parts: Sequence[str | None]) -> str:
    return "".join(part or "" for part in parts)


def _content(parts: Sequence[str | None], pictures: Iterator[Any]) -> list[dict[str, Any]]:
    return [
        {"type": "image", "image": next(pictures)}
        if part is PICTURE
        else {"type": "text", "text": part}
        for part in parts
    ]
