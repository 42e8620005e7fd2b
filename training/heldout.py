"""Held-out phrasings: forty wordings that no training question may equal."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from training.scenes import COLOURS, SHAPES

PHRASINGS = Path(__file__).with_name("phrasings.jsonl")
FILLERS = re.compile(r"\b(please|hey|hi|hello|ok|so|well|now|think|also)\b")
SHORTENED = re.compile(r"\b(what|where|there|it|that|here)'s\b")


@dataclass(frozen=True)
class Phrasing:
    """One held-out wording: a question with open slots and the form its answer takes."""

    kind: str
    question: str
    answer: str


@cache
def phrasings() -> tuple[Phrasing, ...]:
    """Read the held-out wordings."""
    lines = PHRASINGS.read_text(encoding="utf-8").splitlines()
    return tuple(Phrasing(**json.loads(line)) for line in lines if line.strip())


def normalise(text: str) -> str:
    """Reduce a question to what it asks: no case, punctuation, spelling variant or filler word.

    Stricter than lower-casing and stripping punctuation, so that a held-out wording cannot
    come back into training as its own American spelling or with a "please" in front.
    """
    text = SHORTENED.sub(r"\1 is", text.lower()).replace("color", "colour")
    text = re.sub(r"[^\w\s{}]", "", text)
    return " ".join(FILLERS.sub(" ", text).split())


@cache
def forbidden() -> re.Pattern[str]:
    """Compile one pattern that matches every held-out wording with any filling of its slots."""
    slots = {"{colour}": f"({'|'.join(COLOURS)})", "{shape}": f"({'|'.join(SHAPES)})"}
    patterns = []
    for phrasing in phrasings():
        pattern = re.escape(normalise(phrasing.question))
        for slot, values in slots.items():
            pattern = pattern.replace(re.escape(slot), values)
        patterns.append(pattern)
    return re.compile("|".join(patterns))


def is_held_out(question: str) -> bool:
    """Whether a question equals a held-out wording after normalising, whatever fills its slots."""
    return forbidden().fullmatch(normalise(question)) is not None
