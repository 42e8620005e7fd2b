"""Calls to request bodies, and answers to rewards: our `POST /score`, vLLM's `POST /classify`; nothing is sent."""

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from benchmarks.traffic import Call


@dataclass(frozen=True, slots=True)
class Answer:
    rewards: list[float]
    tokens: int  # of all sequences, every one counted whole
    shared_tokens: int = 0  # of these, not computed because siblings or a cache had them
    padding_tokens: int = 0  # computed beside them


class Wire(Protocol):
    @property
    def path(self) -> str: ...

    @property
    def whole_groups(self) -> bool:
        """One request carries a group; else one response."""

    def body(self, call: Call) -> bytes: ...

    def answer(self, body: bytes) -> Answer: ...


@dataclass(frozen=True, slots=True)
class ScoreWire:
    """Our contract; the baselines that speak it report `padding_tokens` in their usage, we in our metrics."""

    whole_groups: bool = True
    path: str = "/score"

    def body(self, call: Call) -> bytes:
        item: dict[str, Any] = {"prompt": call.prompt, "responses": call.responses}
        if call.image is not None:
            item["image"] = _data_uri(call.image)
        return json.dumps({"items": [item]}).encode()

    def answer(self, body: bytes) -> Answer:
        values = json.loads(body)
        usage = values["usage"]
        tokens = usage["text_tokens"] + usage["image_tokens"]
        shared, padding = usage.get("shared_tokens", 0), usage.get("padding_tokens", 0)
        return Answer([r for group in values["rewards"] for r in group], tokens, shared, padding)


@dataclass(frozen=True, slots=True)
class ClassifyWire:
    """vLLM scores one conversation a request; what its prefix cache saved is in its metrics only."""

    whole_groups: bool = False
    path: str = "/classify"

    def body(self, call: Call) -> bytes:
        parts: list[dict[str, Any]] = [{"type": "text", "text": call.prompt}]
        if call.image is not None:
            parts.insert(0, {"type": "image_url", "image_url": {"url": _data_uri(call.image)}})
        (response,) = call.responses
        turns = [
            {"role": "user", "content": parts},
            {"role": "assistant", "content": response},
        ]
        values = {"messages": turns, "use_activation": False, "add_generation_prompt": False}
        return json.dumps(values).encode()

    def answer(self, body: bytes) -> Answer:
        values = json.loads(body)
        tokens = int(values["usage"]["prompt_tokens"])
        return Answer([float(values["data"][0]["probs"][0])], tokens)


def calls_for(wire: Wire, calls: Sequence[Call]) -> list[Call]:
    """As the wire takes them: whole groups, or each response by itself."""
    return list(calls) if wire.whole_groups else [one for call in calls for one in call.split()]


def _data_uri(image: bytes) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(image).decode()
