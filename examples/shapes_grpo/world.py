"""Pictures of shapes, questions about them, and the answers a policy may give; who learns from them is elsewhere."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from PIL.Image import Image

from training.drawing import draw_scene
from training.facts import NUMBERS, make_fact
from training.scenes import COLOURS, MAX_OBJECTS, POSITIONS, SHAPES
from training.splits import Split

PIXELS = 112  # what the demo model resizes a square to
VALUES = {"colour": COLOURS, "shape": SHAPES, "position": POSITIONS, "count": NUMBERS}
KINDS = tuple(VALUES)
QUESTIONS = {
    "colour": ("What colour is the {shape}?", "The {shape} has which colour?"),
    "shape": ("What shape is the {colour} one?", "What is the {colour} object?"),
    "position": ("Where is the {ref}?", "In which part of the picture is the {ref}?"),
    "count": ("How many shapes are there?", "How many objects do you see?"),
}
ANSWERS = {
    "colour": ("{}.", "It is {}."),
    "shape": ("{}.", "It is a {}."),
    "position": ("{}.", "It is at the {}."),
    "count": ("{}.", "There are {}."),
}


@dataclass(frozen=True)
class Task:
    """What a policy is given: there is no right answer in it."""

    picture: Image
    kind: str
    question: str


@dataclass(frozen=True)
class Problem:
    """A task and its right value, which only an exam may know."""

    task: Task
    right: str


class World:
    """Draws tasks without end; `split` says which scenes (training/splits.py): "train" and "pairings" never meet."""

    def __init__(
        self, seed: str, split: str, kinds: Sequence[str] = KINDS, most: int = MAX_OBJECTS
    ) -> None:
        self._rng = random.Random(seed)  # noqa: S311 - for pictures, not for secrets
        self._split, self._kinds, self._most = Split(split), kinds, most

    def tasks(self, count: int) -> list[Task]:
        return [self._problem().task for _ in range(count)]

    def problems(self, count: int) -> list[Problem]:
        return [self._problem() for _ in range(count)]

    def _problem(self) -> Problem:
        """Of an even kind and number of things; a scene that allows no such question is drawn anew."""
        kind, count = self._rng.choice(self._kinds), self._rng.randint(1, self._most)
        fact = None
        while fact is None:
            scene = self._split.scene(self._rng, count)
            fact = make_fact(self._rng, self._split, scene, kind)
        question = self._rng.choice(QUESTIONS[kind]).format(**fact.slots)
        picture = draw_scene(self._rng, scene, (PIXELS, PIXELS))
        return Problem(Task(picture, kind, question), fact.right)


def sentences(kind: str, value: str) -> list[str]:
    """Every well-formed answer to a question of this kind that says this value."""
    texts = [form.format(value) for form in ANSWERS[kind]]
    return [text[:1].upper() + text[1:] for text in texts]
