"""Requests made by hypothesis: every scoring route, one place of its example inflated to a size, by a seed."""

import base64
import functools
import io
import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from PIL import Image

from tests.ceilings.bodies import Request
from tests.fuzz.bodies import CHAT, SEEDS

MB = 1_000_000
FEWEST_BYTES = 2_000
MOST_BYTES = 4 * MB
EXAMPLES = {path: list(values) for path, values in SEEDS.items() if path != "/seed_session"}
EXAMPLES["/score"] += [
    {"prompt": "p", "responses": ["a", "b"], "truncate": "prompt"},
    {"prompt": "p", "images": [{"ref": "a"}], "response": "r"},
    {"items": [{"messages": CHAT[:1], "responses": ["a"]}], "image_table": {"a": "AAAA"}},
    {"messages": [{"role": "user", "content": [{"type": "text", "text": "p"}]}], "response": "r"},
]
PIECES = (
    "ab ",
    "狮🦁",
    "<|im_end|>",
    "<|endoftext|>",
    "<|image_pad|>",
    "\n",
    " ",
    "7",
    "é\u0301",
    "\\",
)
DIGITS = "a number of as many digits"
Place = tuple[str | int, ...]
Inflated = Callable[
    [Any, int, random.Random], Any
]  # of the value that stands there, and the size in bytes


def _piece(_: Any, size: int, dice: random.Random) -> str:
    piece = dice.choice(PIECES)
    return piece * (size // len(piece.encode()))


def _letters(_: Any, size: int, dice: random.Random) -> str:
    """Of all of Unicode but the surrogates: three or four bytes each."""
    ranges = ((0x21, 0x7F), (0x100, 0xD7FF), (0xE000, 0x10FFFF))
    return "".join(chr(dice.randint(*dice.choice(ranges))) for _ in range(size // 4))


def _copies(value: Any, size: int, _: random.Random) -> list[Any]:
    return [value] * max(1, size // (len(json.dumps(value)) + 1))


def _texts(_: Any, size: int, dice: random.Random) -> list[str]:
    count = max(1, size // dice.choice((3, 40, 1000, 100_000)))
    return [f"{i} " * (size // count // len(f"{i} ") or 1) for i in range(count)]


def _wrong(_: Any, size: int, dice: random.Random) -> list[Any]:
    member = dice.choice((1, None, {}, [], "", True, 1e308, {"x": 1}, [[]]))
    return [member] * (size // (len(json.dumps(member)) + 1))


def _deep(value: Any, size: int, dice: random.Random) -> Any:
    for _ in range(min(size // 2, dice.choice((60, 900)))):
        value = [value]
    return value


def _keys(_: Any, size: int, __: random.Random) -> dict[str, int]:
    return {str(i): i for i in range(size // 16)}


def _number(_: Any, __: int, ___: random.Random) -> str:
    return DIGITS


def _picture(_: Any, size: int, dice: random.Random) -> str:
    """Flat, of a side that its bytes do not tell; filled up to the size behind its end."""
    kind, mode, side = dice.choice(
        (("PNG", "P", 4096), ("PNG", "1", 4096), ("WEBP", "RGB", 2048), ("JPEG", "L", 4096))
    )
    data = _file(kind, mode, side)
    return base64.b64encode(data + dice.randbytes(max(0, size * 3 // 4 - len(data)))).decode()


def _pictures(_: Any, size: int, dice: random.Random) -> list[str]:
    """Of equal pixels, and each of other bytes."""
    data = _file("WEBP", "RGB", dice.choice((64, 1024, 2048)))
    each = -(-len(data) // 3) * 4 + 20
    variants = (data + dice.randbytes(6) for _ in range(min(1024, max(1, size // each))))
    return [base64.b64encode(variant).decode() for variant in variants]


@functools.cache
def _file(kind: str, mode: str, side: int) -> bytes:
    file = io.BytesIO()
    options = {"lossless": True} if kind == "WEBP" else {}
    Image.new(mode, (side, side)).save(file, kind, **options)
    return file.getvalue()


WAYS: tuple[Inflated, ...] = (
    *(_piece, _letters, _copies, _texts, _wrong, _deep, _keys, _number, _picture, _pictures),
)


@dataclass(frozen=True)
class Made:
    """One request; what it was made of is its name."""

    path: str
    example: int
    place: Place
    way: Inflated
    size: int
    dice: int

    @property
    def name(self) -> str:
        route, place = self.path.partition("?")[0], ".".join(map(str, self.place))
        return f"{route} {self.way.__name__[1:]} at {place}"

    def request(self) -> Request:
        pictures = self.way in (_picture, _pictures)
        return Request(self.name, self.path, self.body(), pictures=pictures)

    def body(self) -> bytes:
        value = EXAMPLES[self.path][self.example]
        dice = random.Random(self.dice)
        bent = _at(value, self.place, lambda there: self.way(there, self.size, dice))
        text = json.dumps(bent, ensure_ascii=False)
        return text.replace(f'"{DIGITS}"', "9" * self.size).encode()


def _places(value: Any, at: Place = ()) -> Iterator[Place]:
    """All but the whole, which must be an object: of a list the first member."""
    members = value.items() if isinstance(value, dict) else list(enumerate(value))[:1]
    for key, member in members:
        yield (*at, key)
        if isinstance(member, dict | list):
            yield from _places(member, (*at, key))


def _at(value: Any, place: Place, change: Callable[[Any], Any]) -> Any:
    """The value with what stands at a place changed."""
    if not place:
        return change(value)
    first, *rest = place
    if isinstance(value, dict):
        return value | {first: _at(value[first], tuple(rest), change)}
    return [_at(value[0], tuple(rest), change), *value[1:]]


@st.composite
def requests(draw: st.DrawFn) -> Made:
    path = draw(st.sampled_from(list(EXAMPLES)))
    example = draw(st.integers(0, len(EXAMPLES[path]) - 1))
    place = draw(st.sampled_from(list(_places(EXAMPLES[path][example]))))
    way = draw(st.sampled_from(WAYS))
    size = draw(st.one_of(st.integers(FEWEST_BYTES, MB), st.integers(MB, MOST_BYTES)))
    return Made(path, example, place, way, size, draw(st.integers(0, 2**32 - 1)))


def made(count: int, seed_: int) -> list[Made]:
    """So many requests that differ in more than their size; a seed gives the same ones."""
    found: dict[tuple[object, ...], Made] = {}

    @seed(seed_)
    @settings(
        max_examples=20 * count,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(requests())
    def collect(request: Made) -> None:
        found.setdefault((request.path, request.example, request.place, request.way), request)

    collect()
    return list(found.values())[:count]
