"""The most laborious requests that the limits allow, or nearly: by name, route and body."""

import base64
import io
import json
import random
from collections.abc import Callable

from PIL import Image

Case = tuple[str, Callable[[], bytes]]  # route, and what makes the body


def _unicode(chars: int) -> str:
    dice = random.Random(0)
    return "".join(chr(dice.randint(0x4E00, 0x9FFF)) for _ in range(chars))


def _png(side: int, mode: str = "RGB") -> str:
    file = io.BytesIO()
    Image.new(mode, (side, side), 1).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def _dumps(value: object) -> Callable[[], bytes]:
    return lambda: json.dumps(value, ensure_ascii=False).encode()


def _repeated(head: str, member: str, count: int, tail: str) -> Callable[[], bytes]:
    return lambda: (head + ",".join([member] * count) + tail).encode()


NUMBERS = [str(i) for i in range(8192)]
ENDS = "<|endoftext|>" * 20_000 + "x"
CASES: dict[str, Case] = {
    "a context and 8,192 responses": (
        "/score",
        _dumps({"prompt": "ab " * 87_000, "responses": NUMBERS}),
    ),
    "the same, of Unicode": (
        "/score",
        lambda: _dumps({"prompt": _unicode(262_144), "responses": NUMBERS})(),
    ),
    "truncated for each": (
        "/score",
        lambda: _dumps(
            {"prompt": _unicode(262_144), "responses": NUMBERS[:500], "truncate": "prompt"}
        )(),
    ),
    "one picture in 100,000 places": (
        "/score",
        lambda: _dumps(
            {
                "items": [
                    {"prompt": "a", "images": [{"ref": "p"}] * 100_000, "responses": NUMBERS[:9]}
                ],
                "image_table": {"p": _png(112)},
            }
        )(),
    ),
    "wrong pictures": (
        "/score",
        _repeated('{"prompt":"a","response":"b","images":[', "1", 1_000_000, "]}"),
    ),
    "wrong turns": ("/score", _repeated('{"response":"b","messages":[', "{}", 500_000, "]}")),
    "1,000,000 queries": ("/get_reward", _repeated('{"query":[', '"a"', 1_000_000, "]}")),
    "1,000,000 inputs": ("/classify", _repeated('{"input":[', '"a"', 1_000_000, "]}")),
    "1,000,000 texts": ("/v1/score/evaluation", _repeated('{"messages":[', '"a"', 1_000_000, "]}")),
    "a tensor of 300,000 sides": (
        "/v2/models/basereward/infer",
        _repeated(
            '{"inputs":[{"name":"item","datatype":"BYTES","data":[],"shape":[', "9", 300_000, "]}]}"
        ),
    ),
    "1,000,000 rollouts": (
        "/aggregate_metrics",
        _repeated('{"verify_responses":[', "{}", 1_000_000, "]}"),
    ),
    "lists of nothing": ("/score", _repeated('{"x":[', "[]", 2_000_000, "]}")),
    "ends that are none": ("/reward", _dumps({"prompt": "a", "response": ENDS})),
    "templated ends": (
        "/v1/score/evaluation",
        _dumps({"messages": ["<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n" + ENDS]}),
    ),
    "1,000 turns": (
        "/score",
        _dumps(
            {
                "messages": [
                    {"role": "user", "content": "a"},
                    {"role": "assistant", "content": "b"},
                ]
                * 500
                + [{"role": "user", "content": "c"}],
                "responses": NUMBERS[:256],
            }
        ),
    ),
    "16 texts of Unicode": (
        "/score",
        lambda: _dumps({"items": [{"prompt": _unicode(262_144), "response": "a"}] * 16})(),
    ),
}
