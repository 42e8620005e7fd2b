"""The traffic shapes of the benchmark, seeded; how it is sent and what it costs is elsewhere."""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import NormalDist
from typing import Literal

from benchmarks.pictures import picture
from benchmarks.texts import Texts

Kind = Literal["A", "A1", "B", "C", "D"]

PROMPT_TOKENS = (50, 100)
SIGMA = 0.6  # of the log-normal lengths of A, C and D
MIXED_SIGMA = 1.0  # of B, whose lengths run from 16 to 1024
MIXED_TOKENS = (16, 1024)
SHORT_PROMPT_TOKENS = (8, 24)
SHORT_TOKENS = (4, 96)
LONGEST = 4096


@dataclass(frozen=True, slots=True)
class Spec:
    """One kind of traffic; `calls` is the number of groups (A, A1) or of singles (B, C, D)."""

    kind: Kind
    calls: int
    group: int = 1
    image_tokens: int = 1024  # of a picture, where there is one
    median_tokens: int = 100  # of a response
    seed: int = 0

    def sized(self, calls: int, seed: int) -> "Spec":
        return replace(self, calls=calls, seed=seed)


@dataclass(frozen=True, slots=True)
class Call:
    """What a trainer wants scored together: one context and its responses."""

    prompt: str
    image: bytes | None
    responses: tuple[str, ...]
    image_tokens: int = 0

    def split(self) -> list["Call"]:
        return [replace(self, responses=(response,)) for response in self.responses]


def generate(spec: Spec, tokenizer_folder: Path) -> list[Call]:
    """The calls in the order they are sent. A larger `calls` of A only adds groups at the end."""
    makers = {"A": _groups, "A1": _siblings, "B": _mixed, "C": _short, "D": _distinct}
    return makers[spec.kind](spec, Texts(tokenizer_folder, spec.seed))


def lognormal(count: int, median: float, sigma: float, limits: tuple[int, int]) -> list[int]:
    """The `count` middle quantiles of a log-normal, clipped: every burst does the same work."""
    normal = NormalDist(math.log(median), sigma)
    lengths = (round(math.exp(normal.inv_cdf((i + 0.5) / count))) for i in range(count))
    return [min(max(length, limits[0]), limits[1]) for length in lengths]


def _groups(spec: Spec, texts: Texts) -> list[Call]:
    shuffle = random.Random(spec.seed)
    return [_group(spec, texts, shuffle, number) for number in range(spec.calls)]


def _group(spec: Spec, texts: Texts, shuffle: random.Random, number: int) -> Call:
    lengths = lognormal(spec.group, spec.median_tokens, SIGMA, (1, LONGEST))
    shuffle.shuffle(lengths)
    return Call(
        texts.text(shuffle.randint(*PROMPT_TOKENS)),
        picture(spec.image_tokens, _picture_seed(spec, number)),
        tuple(texts.text(length) for length in lengths),
        spec.image_tokens,
    )


def _siblings(spec: Spec, texts: Texts) -> list[Call]:
    return [single for call in _groups(spec, texts) for single in call.split()]


def _distinct(spec: Spec, texts: Texts) -> list[Call]:
    lengths = lognormal(spec.calls, spec.median_tokens, SIGMA, (1, LONGEST))
    return _singles(spec, texts, lengths, PROMPT_TOKENS, with_picture=1.0)


def _mixed(spec: Spec, texts: Texts) -> list[Call]:
    lengths = lognormal(spec.calls, spec.median_tokens, MIXED_SIGMA, MIXED_TOKENS)
    return _singles(spec, texts, lengths, PROMPT_TOKENS, with_picture=0.5)


def _short(spec: Spec, texts: Texts) -> list[Call]:
    lengths = lognormal(spec.calls, spec.median_tokens, SIGMA, SHORT_TOKENS)
    return _singles(spec, texts, lengths, SHORT_PROMPT_TOKENS, with_picture=0.0)


def _singles(
    spec: Spec, texts: Texts, lengths: list[int], prompt: tuple[int, int], *, with_picture: float
) -> list[Call]:
    """Singles in random order; the share that has pictures is exact."""
    shuffle = random.Random(spec.seed)
    pictured = [i < round(with_picture * spec.calls) for i in range(spec.calls)]
    shuffle.shuffle(lengths)
    shuffle.shuffle(pictured)
    calls = []
    for number, (length, seen) in enumerate(zip(lengths, pictured, strict=True)):
        image = picture(spec.image_tokens, _picture_seed(spec, number)) if seen else None
        prompt_text = texts.text(shuffle.randint(*prompt))
        response = (texts.text(length),)
        calls.append(Call(prompt_text, image, response, spec.image_tokens if seen else 0))
    return calls


def _picture_seed(spec: Spec, number: int) -> int:
    return (spec.seed + 1) * 1_000_003 + number


def rows(calls: Sequence[Call]) -> list[tuple[str, bytes | None, str]]:
    """Every (prompt, picture, response) to be scored, in order."""
    return [(call.prompt, call.image, text) for call in calls for text in call.responses]
