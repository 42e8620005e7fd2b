"""The most laborious requests that the limits allow, or nearly: by name, route and body."""

import base64
import io
import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from PIL import Image

from tests.inputs.pictures import png

Case = tuple[str, Callable[[], bytes]]  # route, and what makes the body
JSON = "application/json"
FORM = "multipart/form-data; boundary=b"


@dataclass(frozen=True)
class Request:
    name: str
    path: str
    body: bytes
    content_type: str = JSON
    pictures: bool = False  # which are decoded: beside what its bytes are allowed


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
# What is scored: as much as the limits allow, and in batches as full as they get.
SCORED: dict[str, Callable[[], bytes]] = {
    "8,192 short responses": _dumps({"prompt": "p", "responses": NUMBERS}),
    "256 responses of 500 tokens": _dumps(
        {"prompt": "p", "responses": [f"{i} " + "red " * 500 for i in range(256)]}
    ),
    "a context of 1,900 tokens, 512 responses": _dumps(
        {"prompt": "red " * 1900, "responses": NUMBERS[:512]}
    ),
    "512 contexts of their own": _dumps(
        {"items": [{"prompt": f"{i} " * 60, "response": "r"} for i in range(512)]}
    ),
}


def _with_table(count: int, side: int) -> bytes:
    table = {str(i): base64.b64encode(png(side, side, i)).decode() for i in range(count)}
    items = [{"prompt": "p", "images": [{"ref": name}], "response": "r"} for name in table]
    return json.dumps({"items": items, "image_table": table}).encode()


def _form(count: int, side: int, *, named: bool) -> bytes:
    refs = [{"ref": str(i)} for i in range(count)]
    request = json.dumps(
        {"items": [{"prompt": "p", "images": [r] if named else [], "response": "r"} for r in refs]}
    )
    parts = [("request", request.encode())] + [
        (ref["ref"], png(side, side, i)) for i, ref in enumerate(refs)
    ]
    return (
        b"".join(
            b'--b\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n'
            % (name.encode(), data)
            for name, data in parts
        )
        + b"--b--\r\n"
    )


def named() -> Iterator[Request]:
    for name, (path, make) in CASES.items():
        yield Request(name, path, make(), pictures=name == "one picture in 100,000 places")
    for name, make in SCORED.items():
        yield Request(name, "/score", make())
    yield Request("512 pictures of 64 x 64", "/score", _with_table(512, 64), pictures=True)
    yield Request("2 pictures of 700 x 700", "/score", _with_table(2, 700), pictures=True)
    yield Request("a form of 256 pictures", "/score", _form(256, 64, named=True), FORM, True)
    yield Request("a form of pictures unnamed", "/score", _form(256, 64, named=False), FORM, True)
    yield Request("a form without an end", "/score", b"--b\r\nX: " + b"x" * 3_000_000, FORM)
    yield Request("a form of line ends", "/score", b"--b" + b"\r\n--" * 500_000, FORM)
