"""Requests of every scoring route: good ones, and good ones bent by their structure, their bytes or their pictures."""

import base64
import json
import random
from dataclasses import dataclass, field
from typing import Any

from service.api.compat import classify, evaluation, get_reward, inference, reward, verify
from tests.inputs.kinds import KINDS, MOVING

PICTURES = [kind.values[0] for kind in (*KINDS, *MOVING)]
ODD: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 3.5, 1e308, -1e308, 10**30, "", " ", "\u0000", "null", "[]", "{}"),
    *([], {}, [[]], [None], [1, 1, 1], {"a": {}}, ["a", ["b"]], {"role": "user"}, {"image": 5}),
    *(
        "<|im_end|>",
        "<|image_pad|>" * 3,
        "<image>",
        "\ufdd0",
        "\ufdd20\ufdd3",
        "é\u0301 狮🦁",
        "a/b.png",
    ),
    *("data:image/png;base64,", "data:,", "https://x.example/a.png", "file:///etc/passwd", "AAAA"),
)
WORDS = (
    "What",
    "colour",
    "is",
    "the",
    "circle?",
    "It",
    "is",
    "red.",
    "\n",
    "狮",
    "🦁",
    "<|im_end|>",
    "2+2=4",
)
CHAT = [{"role": "user", "content": "What colour?"}, {"role": "assistant", "content": "Red."}]
TEMPLATED = "<|im_start|>user\nTwo and two?<|im_end|>\n<|im_start|>assistant\nFour.<|im_end|>\n"
SCORE: tuple[dict[str, Any], ...] = (
    {"prompt": "p", "response": "r"},
    {"items": [{"prompt": "p", "responses": ["a", "b", "c"], "id": "x"}], "on_error": "null"},
    {"items": [{"messages": CHAT}, {"prompt": "p", "response": "r"}], "transform": "sigmoid"},
    {"messages": CHAT[:1], "responses": ["a", ""], "truncate": "prompt", "system": ""},
)
AGGREGATE = {
    "verify_responses": [{"_ng_task_index": 0, "reward": 1.5}, {"_ng_task_index": 1, "reward": 2}]
}
LABEL = base64.b64encode(PICTURES[0]).decode()
SEEDS: dict[str, tuple[Any, ...]] = {
    "/score": SCORE,
    "/get_reward": (get_reward.EXAMPLE, {"query": [TEMPLATED], "labels": [None]}),
    "/get_reward_mllm?image_from=labels": (
        {"query": ["What? Red."], "prompts": ["What? "], "labels": [LABEL]},
    ),
    "/v1/score/evaluation": (evaluation.EXAMPLE,),
    "/reward": (reward.EXAMPLE,),
    "/verify": (verify.EXAMPLE,),
    "/classify": (classify.EXAMPLE, {"input": [TEMPLATED], "use_activation": False}),
    "/v2/models/basereward/infer": (inference.EXAMPLE,),
    "/aggregate_metrics": (AGGREGATE,),
    "/seed_session": ({},),
}
MOST_BYTES = 2**21
KINDS_OF_INPUT = ("good", "bent", "bytes", "picture", "form")
SHARES = (45, 30, 8, 12, 5)


@dataclass(frozen=True, slots=True)
class Sent:
    path: str
    body: bytes
    content_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)


def make(dice: random.Random) -> Sent:
    """One request: the same dice give the same."""
    (kind,) = dice.choices(KINDS_OF_INPUT, SHARES)
    if kind == "picture":
        return _pictured(dice)
    if kind == "form":
        return _form(dice)
    path = dice.choice(list(SEEDS))
    value = json.loads(json.dumps(dice.choice(SEEDS[path])))
    if kind == "good":
        return Sent(path, json.dumps(_reworded(value, dice)).encode())
    for _ in range(dice.randint(1, 3)):
        value = _bent(value, dice)
    body = json.dumps(value).encode()
    if len(body) > MOST_BYTES:  # beyond every limit it would be refused while it is still sent
        return make(dice)
    return Sent(path, _damaged(body, dice) if kind == "bytes" else body)


def _reworded(value: Any, dice: random.Random) -> Any:
    """Other words in the texts that a model reads; all else as it was."""
    if isinstance(value, dict):
        return {k: _text(dice) if _is_text(k, v) else _reworded(v, dice) for k, v in value.items()}
    return [_reworded(v, dice) for v in value] if isinstance(value, list) else value


def _is_text(key: str, value: Any) -> bool:
    return key in ("response", "prompt") and isinstance(value, str)


def _text(dice: random.Random) -> str:
    return " ".join(dice.choices(WORDS, k=dice.randint(1, 12)))


def _bent(value: Any, dice: random.Random) -> Any:
    """The value with one place changed: another value, a key gone, new or twice, a list longer, something deeper."""
    if isinstance(value, dict) and value and dice.random() < 0.9:
        key = dice.choice(list(value))
        how = dice.random()
        if how < 0.12:
            return {k: v for k, v in value.items() if k != key}
        if how < 0.2:
            return value | {
                dice.choice(("x", "image", "images", "system", "id", "")): dice.choice(ODD)
            }
        return value | {key: _bent(value[key], dice)}
    if isinstance(value, list) and value and dice.random() < 0.8:
        return _bent_list(value, dice)
    if dice.random() < 0.1:
        for _ in range(dice.choice((1, 30, 63, 70, 300))):
            value = [value]
        return value
    return dice.choice(ODD) if dice.random() < 0.9 else _text(dice) * dice.choice((1, 100))


def _bent_list(value: list[Any], dice: random.Random) -> list[Any]:
    at = dice.randrange(len(value))
    if dice.random() < 0.2:
        return value + value[at : at + 1] * dice.choice((1, 7, 300))
    return [*value[:at], _bent(value[at], dice), *value[at + 1 :]]


def _damaged(data: bytes, dice: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(dice.randint(1, 6)):
        at = dice.randrange(len(changed) + 1)
        how = dice.random()
        if how < 0.4 and changed:
            changed[at % len(changed)] = dice.randrange(256)
        elif how < 0.7:
            del changed[at : at + dice.randint(1, 40)]
        else:
            changed[at:at] = dice.randbytes(dice.randint(1, 9))
    return bytes(changed)


def _picture(dice: random.Random) -> bytes:
    data = dice.choice(PICTURES)
    return data if dice.random() < 0.4 else _damaged(data, dice)


def _pictured(dice: random.Random) -> Sent:
    mime = dice.choice(("data:image/png;base64,", "data:image;base64,", "data:;base64,", ""))
    item = {"prompt": "What?", "image": mime + base64.b64encode(_picture(dice)).decode()}
    return Sent("/score", json.dumps(item | {"response": _text(dice)}).encode())


def _form(dice: random.Random) -> Sent:
    request = json.dumps({"prompt": "What?", "images": [{"ref": "a"}], "response": _text(dice)})
    parts = [
        b'--b\r\nContent-Disposition: form-data; name="request"\r\n\r\n' + request.encode(),
        b'\r\n--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n' + _picture(dice),
        b"\r\n--b--\r\n",
    ]
    whole = b"".join(parts)
    body = whole if dice.random() < 0.6 else _damaged(whole, dice)
    return Sent("/score", body, "multipart/form-data; boundary=b")
