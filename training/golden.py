"""Golden examples: a few pictures and answers whose rewards ship beside the weights."""

from __future__ import annotations

import random
from pathlib import Path

from PIL import Image

from training.drawing import draw_scene
from training.scenes import Scene, Thing
from training.scoring import Item, Scorer

EXAMPLE = Scene((Thing("red", "circle", "top left"), Thing("blue", "square", "bottom right")))
EXAMPLE_SIZE = (224, 224)
PICTURES = {
    "golden/circle-and-square.png": (EXAMPLE, (160, 160)),
    "golden/wide.png": (
        Scene(
            (
                Thing("green", "star", "top right"),
                Thing("yellow", "triangle", "bottom left"),
                Thing("purple", "circle", "bottom right"),
            )
        ),
        (256, 192),
    ),
    "golden/tall.png": (Scene((Thing("orange", "diamond", "bottom left"),)), (120, 160)),
}
EXAMPLES = (
    ("What colour is the circle?", "golden/circle-and-square.png", "The circle is red."),
    ("What colour is the circle?", "golden/circle-and-square.png", "The circle is blue."),
    ("Where is the square?", "golden/circle-and-square.png", "bottom right"),
    ("How many shapes are there?", "golden/wide.png", "Three."),
    ("How many shapes are there?", "golden/wide.png", "Two."),
    ("Is there a blue star in the picture?", "golden/wide.png", "No."),
    ("What is in the picture?", "golden/tall.png", "An orange diamond."),
    ("What colour is the circle?", None, "The circle is red."),
)


def picture(name: str) -> Image.Image:
    """Draw a golden picture; the same on every call."""
    scene, size = PICTURES[name]
    return draw_scene(random.Random(name), scene, size)


def example_picture() -> Image.Image:
    """Draw the picture that the documentation's first request sends."""
    return draw_scene(random.Random("example"), EXAMPLE, EXAMPLE_SIZE)


def write_pictures(folder: Path) -> None:
    """Draw the golden pictures into a checkpoint folder."""
    (folder / "golden").mkdir(parents=True, exist_ok=True)
    for name in PICTURES:
        picture(name).save(folder / name, optimize=True)


def golden(folder: Path) -> list[dict[str, str | float]]:
    """Score the golden examples from the files in a checkpoint folder, one at a time."""
    scorer, entries = Scorer(folder), []
    for prompt, name, response in EXAMPLES:
        shown = Image.open(folder / name).convert("RGB") if name else None
        reward = scorer.score_batch([Item(prompt, response, shown)])[0]
        entry: dict[str, str | float] = {"prompt": prompt}
        if name:
            entry["image"] = name
        entries.append({**entry, "response": response, "reward": round(reward, 6)})
    return entries
