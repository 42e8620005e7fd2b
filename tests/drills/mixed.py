"""Requests of every kind that a fleet of trainers sends, good and bad, and whether two answers to one say the same."""

import base64
import json
import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx

from tests.inputs.pictures import png

OWN = {"id", "request_id", "created", "timing_ms", "usage"}  # of an answer, not of what was asked
COLOURS = ("red", "blue", "green", "yellow", "purple", "orange")


@dataclass(frozen=True)
class Asked:
    """One request, as httpx takes it."""

    path: str
    content: dict[str, Any]


def _picture(rng: random.Random) -> bytes:
    return png(rng.randint(28, 90), rng.randint(28, 90), rng.randrange(10**6))


def _text(rng: random.Random) -> str:
    return f"Is it {' or '.join(rng.choices(COLOURS, k=rng.randint(1, 6)))}?"


def _answers(rng: random.Random, count: int) -> list[str]:
    return [f"It is {rng.choice(COLOURS)}, I say for the {n}th time." for n in range(count)]


def _base64(picture: bytes) -> str:
    return base64.b64encode(picture).decode()


def _single(rng: random.Random) -> Asked:
    return Asked("/score", {"json": {"prompt": _text(rng), "response": _answers(rng, 1)[0]}})


def _group(rng: random.Random) -> Asked:
    table = {"p": _base64(_picture(rng))}
    items = [{"prompt": _text(rng), "image": {"ref": "p"}, "responses": _answers(rng, 4)}] * 2
    return Asked("/score", {"json": {"items": items, "image_table": table}})


def _form(rng: random.Random) -> Asked:
    item = {"prompt": _text(rng), "image": {"ref": "p"}, "response": _answers(rng, 1)[0]}
    files = {"request": json.dumps(item).encode(), "p": _picture(rng)}
    return Asked("/score", {"files": files})


def _openrlhf(rng: random.Random) -> Asked:
    prompt = f"<|im_start|>user\n{_text(rng)}<|im_end|>\n<|im_start|>assistant\n"
    query = [prompt + answer + "<|im_end|>" for answer in _answers(rng, 2)]
    return Asked("/get_reward", {"json": {"query": query, "prompts": [prompt] * 2}})


def _slime(rng: random.Random) -> Asked:
    body = {"prompt": _text(rng), "response": _answers(rng, 1)[0]}
    return Asked("/reward", {"json": body | {"label": "red"}})


def _vllm(rng: random.Random) -> Asked:
    turns = [("user", _text(rng)), ("assistant", _answers(rng, 1)[0])]
    messages = [{"role": role, "content": text} for role, text in turns]
    return Asked("/classify", {"json": {"messages": messages, "use_activation": False}})


def _inference_protocol(rng: random.Random) -> Asked:
    data = [json.dumps({"prompt": _text(rng), "response": a}) for a in _answers(rng, 2)]
    tensor = {"name": "item", "shape": [2], "datatype": "BYTES", "data": data}
    return Asked("/v2/models/basereward/infer", {"json": {"inputs": [tensor]}})


def _bad(rng: random.Random) -> Asked:
    broken = _base64(_picture(rng)[:-40])
    bodies: list[dict[str, Any]] = [
        {"content": b'{"prompt": "is this', "headers": {"Content-Type": "application/json"}},
        {"json": {"prompt": _text(rng), "response": "Yes.", "rubric": 3}},
        {"json": {"prompt": _text(rng), "response": "Yes.", "image": broken}},
        {"json": {"prompt": _text(rng), "response": "Yes.", "image": {"ref": "nowhere"}}},
        {"json": {"prompt": _text(rng) * 20_000, "response": "Yes."}},
    ]
    return Asked("/score", rng.choice(bodies))


KINDS: tuple[Callable[[random.Random], Asked], ...] = (
    _single,
    _single,
    _group,
    _form,
    _openrlhf,
    _slime,
    _vllm,
    _inference_protocol,
    _bad,
)


def request(number: int) -> Asked:
    """Equal for equal numbers."""
    return KINDS[number % len(KINDS)](random.Random(number))


def meaning(answer: httpx.Response) -> Any:
    return answer.status_code, _without_own(answer.json())


def _without_own(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_own(v) for k, v in value.items() if k not in OWN}
    return [_without_own(v) for v in value] if isinstance(value, list) else value


def same(one: Any, other: Any, tolerance: float) -> bool:
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[k], other[k], tolerance) for k in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(
            same(a, b, tolerance) for a, b in zip(one, other, strict=True)
        )
    if isinstance(one, float) and isinstance(other, float | int):
        return math.isclose(one, other, rel_tol=0, abs_tol=tolerance)
    return bool(one == other)
