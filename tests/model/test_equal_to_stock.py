"""Rewards are those of stock transformers, alone and in any company, to 1e-5 in float32."""

import dataclasses
import math
import random

import numpy as np
import pytest

from service.core import Example, Slice
from tests.model.scoring import alone, example, together

CASES = {
    "text": ("What is two and two?", "Four.", []),
    "picture": ("What is this?", "A cat.", [(112, 112)]),
    "wide picture": ("What is this?", "A cat.", [(333, 90)]),
    "tall picture": ("Describe.", "Something tall.", [(60, 400)]),
    "two pictures": ("Compare them.", "The second is larger.", [(84, 84), (140, 100)]),
    "newline first": ("Answer:", "\nFour.", []),
    "newlines only": ("Answer:", "\n\n", []),
    "empty response": ("Answer:", "", [(56, 56)]),
    "spaces": ("  Answer: ", "  Four.  ", []),
    "unicode": ("Was ist das? 这是什么 🙂", "Ein Löwe 狮子 🦁", []),
    "decomposed unicode": ("Cafe\u0301", "re\u0301sume\u0301", []),
    "noncharacter": ("a\ufdd0b", "\ufdd0\ufdd0", []),
}


@pytest.mark.parametrize("name", CASES)
def test_one_item_equals_stock(pair, noise, name):
    ours, stock = pair
    prompt, response, sizes = CASES[name]
    images = [noise(w, h, seed) for seed, (w, h) in enumerate(sizes)]
    (reward,) = alone(ours, example(ours, prompt, [response], images))
    assert reward == pytest.approx(stock.reward(prompt, response, images), abs=1e-5)


def test_64_mixed_lengths_first_and_last_equal_alone(pair, noise):
    ours, stock = pair
    rng = random.Random(7)
    words = [
        "red",
        "blue",
        "circle",
        "square",
        "left",
        "right",
        "above",
        "the",
        "a",
        "of",
        "and",
        "seven",
    ]

    def item(i: int):
        text = " ".join(rng.choices(words, k=rng.randint(1, 120)))
        images = [noise(rng.randint(56, 200), rng.randint(56, 200), i)] if i % 2 else []
        return f"Question {i}?", text, images

    items = [item(i) for i in range(64)]
    encoded = [example(ours, p, [r], images) for p, r, images in items]
    assert len({e.lengths for e in encoded}) > 32
    by_itself = [alone(ours, e)[0] for e in encoded]
    forward = [rewards[0] for rewards in together(ours, encoded)]
    backward = [rewards[0] for rewards in together(ours, encoded[::-1])][::-1]
    assert forward == pytest.approx(by_itself, abs=1e-5)
    assert backward == pytest.approx(by_itself, abs=1e-5)
    for i in (0, 1, 31, 62, 63):
        assert by_itself[i] == pytest.approx(stock.reward(*items[i]), abs=1e-5)
    assert len({round(reward, 3) for reward in by_itself}) > 32  # they are different items


def test_a_group_equals_its_singles(pair, noise):
    ours, stock = pair
    image = noise(120, 90)
    responses = ["Red.", "\nBlue, I think.", "", "A much longer answer " * 9]
    group = example(ours, "What colour?", responses, [image])
    (rewards,) = together(ours, [group])
    assert rewards == pytest.approx(alone(ours, group), abs=1e-5)
    for response, reward in zip(responses, rewards, strict=True):
        assert reward == pytest.approx(stock.reward("What colour?", response, [image]), abs=1e-5)


def test_part_of_a_group_answers_for_that_part(pair):
    ours, _ = pair
    group = example(ours, "Which?", ["one", "two two", "three three three"])
    rewards = alone(ours, group)
    (part,) = ours.score(ours.stage((Slice(group, (2, 0)),)))
    assert part == pytest.approx([rewards[2], rewards[0]], abs=1e-5)


def test_nan_in_one_item_stays_in_that_item(pair, noise):
    ours, _ = pair
    good = example(ours, "What colour?", ["Red."], [noise(84, 84)])
    bad = poisoned(example(ours, "What colour?", ["Red."], [noise(84, 84, 1)]))
    step = tuple(Slice(e, (0,)) for e in (good, bad, good))
    (first,), (poison,), (last,) = ours.score(ours.stage(step))
    assert math.isnan(poison)
    assert [first, last] == pytest.approx(alone(ours, good) * 2, abs=1e-5)


def poisoned(encoded: Example) -> Example:
    (picture,) = encoded.data.pictures
    data = np.full(picture.data.shape, np.nan, np.float32)
    nan = dataclasses.replace(picture, data=data, digest=b"poison")
    return dataclasses.replace(encoded, data=dataclasses.replace(encoded.data, pictures=(nan,)))
