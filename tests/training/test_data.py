"""What the demo was trained on: held-out things stay held out, and the right answer is right."""

import itertools
import random

import pytest

from training.drawing import draw_scene
from training.facts import KINDS, make_fact
from training.heldout import is_held_out, phrasings
from training.questions import random_questions
from training.scenes import COLOURS, SHAPES
from training.splits import Split

SCENES = 120


def scenes(kind: str, count: int = SCENES):
    split, rng = Split(kind), random.Random(5)
    return [split.scene(rng) for _ in range(count)]


def test_forty_phrasings_of_every_kind():
    assert len(phrasings()) == 40
    assert {p.kind for p in phrasings()} == set(KINDS)


def test_training_asks_nothing_in_a_held_out_wording():
    split, rng = Split("train"), random.Random(1)
    asked = {q.text for s in scenes("train") for q in random_questions(rng, split, s, 8)}
    assert len(asked) > 500
    assert not [text for text in asked if is_held_out(text)]


@pytest.mark.parametrize(
    "change", [str, str.upper, lambda t: t.rstrip("?.") + "!", "Please, {}".format]
)
def test_the_guard_knows_every_phrasing_however_it_is_typed(change):
    for phrasing in phrasings():
        filled = phrasing.question.format(colour="red", shape="star")
        assert is_held_out(change(filled)), filled


def test_held_out_combinations_are_never_drawn_or_named():
    split, rng = Split("train"), random.Random(2)
    held = {f"{colour} {shape}" for colour, shape in split.held.combos}
    assert len(held) == 3
    for scene in scenes("train"):
        assert not split.held.combos & set(scene.names)
        for question in random_questions(rng, split, scene, 4):
            said = " ".join((question.text, question.right, *question.wrongs)).lower()
            assert not [name for name in held if name in said]


def test_the_splits_do_not_meet():
    train = Split("train")
    for scene in scenes("pairings"):
        assert not train.admits(scene)
        assert train.novel_company(scene)
    for scene in scenes("combos"):
        assert set(scene.names) & train.held.combos


def test_yes_and_no_are_right_equally_often():
    split, rng = Split("train"), random.Random(3)
    for kind in ("yesno_colour", "yesno_presence"):
        facts = (make_fact(rng, split, scene, kind, "both") for scene in scenes("train", 700))
        right = [fact.right for fact in facts if fact is not None]
        assert 0.42 < right.count("yes") / len(right) < 0.58


def test_the_right_answer_is_never_among_the_wrong_ones():
    for kind, name in itertools.product(("train", "pairings", "combos"), KINDS):
        split, rng = Split(kind), random.Random(4)
        for scene in scenes(kind, 60):
            fact = make_fact(rng, split, scene, name, "both")
            assert fact is None or fact.right not in fact.wrongs


def test_a_scene_is_drawn_the_same_for_the_same_seed():
    scene = scenes("train", 1)[0]
    first, again = (draw_scene(random.Random(7), scene, (224, 168)) for _ in range(2))
    assert first.tobytes() == again.tobytes()
    assert first.size == (224, 168)
    assert set(COLOURS) >= {colour for colour, _ in scene.names}
    assert set(SHAPES) >= {shape for _, shape in scene.names}
