"""Cases: the pictures and questions a checkpoint is tested on, and how many pairs it gets right."""

from __future__ import annotations

import random
from collections import defaultdict
from dataclasses import dataclass

from PIL import Image

from training.drawing import draw_blank, draw_scene
from training.facts import KINDS, make_fact
from training.heldout import Phrasing, phrasings
from training.questions import Question, capital, put
from training.scenes import Scene, random_canvas
from training.scoring import Item, Scorer
from training.splits import Split

CONDITIONS = ("true", "shuffled", "blank")


@dataclass(frozen=True)
class Case:
    """One question with its picture, another scene's picture and an empty one."""

    label: str
    question: Question
    pictures: dict[str, Image.Image]


def draw_pictures(rng: random.Random, split: Split, scene: Scene) -> dict[str, Image.Image]:
    """Draw a scene, another scene of the same split, and nothing, on one canvas size."""
    size = random_canvas(rng)
    return {
        "true": draw_scene(rng, scene, size),
        "shuffled": draw_scene(rng, split.scene(rng), size),
        "blank": draw_blank(rng, size),
    }


def split_cases(split: Split, seed: str, scenes: int) -> list[Case]:
    """Ask one question of every kind that fits about each of `scenes` fresh scenes of a split."""
    rng = random.Random(f"{split.kind}-{seed}")
    cases = []
    for _ in range(scenes):
        scene = split.scene(rng)
        pictures = draw_pictures(rng, split, scene)
        for kind in KINDS:
            fact = make_fact(rng, split, scene, kind, rng.choice(("shape", "both", "both")))
            if fact is not None:
                cases.append(Case(kind, put(rng, fact), pictures))
    return cases


def phrase(rng: random.Random, split: Split, scene: Scene, phrasing: Phrasing) -> Question | None:
    """Fill a held-out wording from a scene, or return None where the scene does not fit it."""
    ref = "both" if "{colour}" in phrasing.question else "shape"
    fact = make_fact(rng, split, scene, phrasing.kind, ref)
    if fact is None:
        return None
    right, *wrongs = (
        phrasing.answer.format(answer=answer, Answer=capital(answer), **fact.slots)
        for answer in (fact.right, *fact.wrongs)
    )
    text = phrasing.question.format(**fact.slots)
    return Question(phrasing.kind, text, right, tuple(wrongs))


def phrasing_cases(split: Split, seed: str, scenes: int) -> list[Case]:
    """Ask every held-out wording about `scenes` fresh scenes that fit it."""
    cases = []
    for number, phrasing in enumerate(phrasings()):
        rng, asked = random.Random(f"phrasing-{number}-{seed}"), 0
        while asked < scenes:
            scene = split.scene(rng)
            question = phrase(rng, split, scene, phrasing)
            if question is not None:
                cases.append(Case(phrasing.question, question, draw_pictures(rng, split, scene)))
                asked += 1
    return cases


def count_right(scorer: Scorer, cases: list[Case], condition: str) -> dict[str, list[int]]:
    """Count, per label and over "all", the (right, wrong) pairs ranked right and the pairs.

    A tie counts as wrong.
    """
    items = [
        Item(case.question.text, answer, case.pictures[condition])
        for case in cases
        for answer in (case.question.right, *case.question.wrongs)
    ]
    rewards = iter(scorer.score(items))
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for case in cases:
        right = next(rewards)
        for _ in case.question.wrongs:
            won = right > next(rewards)
            for label in ("all", case.label):
                counts[label][0] += won
                counts[label][1] += 1
    return dict(counts)
