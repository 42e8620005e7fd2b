"""An answer is believed only where it mirrors what was asked; anything else is an error, never a number."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from basereward_client.errors import RewardError
from basereward_client.request import Planned
from basereward_client.rewards import Answer, ItemError

STAGES = ("prepare", "queue", "forward")


def believed(
    content: bytes, headers: Mapping[str, str], asked: Sequence[Planned], nulls: bool
) -> Answer:
    """
    Raises:
        ValueError, LookupError, TypeError, AttributeError: it is no answer to what was asked.
    """
    body = json.loads(content)
    scale = body["fingerprint"], body["numerics"]
    _hold(scale == (headers["x-model-fingerprint"], headers["x-model-numerics"]), "fingerprint")
    _hold(body["ids"] == [item.id for item in asked], "ids: this answers something else")
    _hold(len(body["rewards"]) == len(asked), "number of rewards")
    missing = {(e["index"], e["response"]) for e in body["errors"]}
    _hold(nulls or not missing, "errors: rewards or nothing was asked for")
    rewards: dict[int, Any] = {}
    for i, (item, got) in enumerate(zip(asked, body["rewards"], strict=True)):
        row = [got] if item.responses is None else got
        _hold(len(row) == (1 if item.responses is None else item.responses), "size of a group")
        for r, reward in enumerate(row):
            _hold(reward is None if (i, r) in missing else _is_finite(reward), "reward")
        numbers = [None if reward is None else float(reward) for reward in row]
        rewards[item.index] = numbers[0] if item.responses is None else numbers
    indices = [item.index for item in asked]
    errors, warnings = (located(body[name], indices) for name in ("errors", "warnings"))
    stages = [body["timing_ms"][stage] for stage in STAGES]
    return Answer(rewards, errors, warnings, scale, body["usage"], stages)


def unanswered(asked: Iterable[tuple[int, int | None]], error: RewardError) -> Answer:
    """None for every response of these items (index, number of responses), and why."""
    rewards = {index: None if count is None else [None] * count for index, count in asked}
    whys = [
        ItemError(index, response, error.code, str(error))
        for index, row in rewards.items()
        for response in range(len(row or [None]))
    ]
    return Answer(rewards, whys)


def located(entries: Iterable[Mapping[str, Any]], indices: Sequence[int]) -> list[ItemError]:
    """The server's entries by the caller's indices, in their messages too."""
    return [
        ItemError(indices[e["index"]], e["response"], e["code"], renamed(e["message"], indices))
        for e in entries
    ]


def renamed(text: str, indices: Sequence[int]) -> str:
    """A text that starts with `items[3]` of a chunk, by the caller's own number."""
    number = re.match(r"items\[(\d+)\]", text)
    return f"items[{indices[int(number[1])]}]{text[number.end() :]}" if number else text


def _is_finite(reward: Any) -> bool:
    return type(reward) in (int, float) and abs(reward) < 1e300  # noqa: PLR2004 - NaN fails too


def _hold(condition: bool, what: str) -> None:
    if not condition:
        raise ValueError(f"wrong {what}")
