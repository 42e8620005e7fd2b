"""ms-swift's own scoring of a rollout, which starts an event loop each time; and its loading of plugins."""

import asyncio
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from swift.rewards import AsyncORM, orms
from swift.rl_core.data import GRPOSample
from swift.rl_core.grpo_algorithm import compute_rewards_per_func
from swift.utils import import_external_file

from basereward_client import BadRequest, Scheme
from basereward_client.adapters.swift import make_orm
from tests.trainers.conftest import CLOSE, QUESTION, Server, normal, png, shape, sigmoid
from tests.trainers.examples import FOLDER


def sample(
    text: str, images: list[Any] | None = None, question: str = QUESTION, **row: Any
) -> GRPOSample:
    turns = [{"role": "user", "content": question}, {"role": "assistant", "content": text}]
    pictures = {} if images is None else {"images": images}
    return GRPOSample.from_row({"messages": turns, **pictures, **row})


def scored(function: Any, samples: list[GRPOSample]) -> list[float]:
    rewards = compute_rewards_per_func(samples, [function], [None], torch.device("cpu"))
    return [float(reward) for reward in rewards[:, 0]]


def rollout(folder: Path) -> tuple[list[GRPOSample], list[tuple[str, list[Any]]]]:
    """Groups of two, as ms-swift holds their pictures: bytes, a file, several, and none."""
    path = folder / "blue.png"
    path.write_bytes(png(shape("blue")))
    red, blue = {"bytes": png(shape("red")), "path": None}, {"bytes": None, "path": str(path)}
    contexts = [
        ([red], f"<image>{QUESTION}", [shape("red")]),
        ([blue], QUESTION, [shape("blue")]),
        ([red, str(path)], f"<image><image>{QUESTION}", [shape("red"), shape("blue")]),
        ([red, blue], f"<image>{QUESTION}", [shape("red"), shape("blue")]),
        (None, QUESTION, []),
    ]
    texts = ("It is red.", "It is blue.")
    samples = [sample(t, given, question) for given, question, _ in contexts for t in texts]
    return samples, [(t, images) for _, _, images in contexts for t in texts]


@pytest.mark.parametrize("is_async", [True, False], ids=["async", "sync"])
def test_rewards_of_two_steps(is_async: bool, server: Server, tmp_path: Path) -> None:
    orm = make_orm(server.url, is_async=is_async)(args=None)
    samples, rows = rollout(tmp_path)
    expected = [server.reward(text, QUESTION, *images) for text, images in rows]
    assert scored(orm, samples) == pytest.approx(expected, abs=CLOSE)
    assert scored(orm, samples[::-1]) == pytest.approx(expected[::-1], abs=CLOSE)
    assert len({round(score, 2) for score in expected}) == len(expected) - 2  # two are alike


def test_example(server: Server) -> None:
    import_external_file(str(FOLDER / "swift_plugin.py"))
    orm = orms["basereward"](args=None)
    assert isinstance(orm, AsyncORM)
    assert asyncio.iscoroutinefunction(orm.__call__)
    score = server.reward("It is red.", QUESTION, shape("red"))
    (reward,) = scored(orm, [sample("It is red.", [{"bytes": png(shape("red")), "path": None}])])
    assert reward == pytest.approx(sigmoid(score), abs=CLOSE)


def test_answers_come_from_their_column(server: Server) -> None:
    orm = make_orm(server.url, scheme=Scheme("hybrid"), answer_column="solution")()
    rows = [("Red.", "red"), ("Blue.", "blue"), ("Red.", "blue")]
    rewards = scored(orm, [sample(text, solution=answer) for text, answer in rows])
    wrong = sigmoid(server.reward("Red.", QUESTION))
    assert rewards == [1, 1, pytest.approx(wrong, abs=CLOSE)]


@pytest.mark.parametrize("is_async", [True, False], ids=["async", "sync"])
def test_groups_of_equal_contexts(is_async: bool, server: Server) -> None:
    orm = make_orm(server.url, scheme=Scheme(normalise_groups=True), is_async=is_async)()
    rows = [(QUESTION, text) for text in ("Red.", "Blue.", "No circle here.")]
    rows += [("How many shapes are there?", text) for text in ("One.", "It is red.")]
    rewards = scored(orm, [sample(text, question=question) for question, text in rows])
    raw = [server.reward(text, question) for question, text in rows]
    assert rewards == pytest.approx(normal(raw, [0, 0, 0, 1, 1]), abs=CLOSE)


def test_hybrid_without_a_column_of_answers_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="answer_column"):
        make_orm("http://nowhere", scheme=Scheme("hybrid"))


def test_bad_row_is_left_out_only_where_that_is_wanted(server: Server) -> None:
    small = [{"bytes": png(shape("red", size=300)), "path": None}]
    samples = [sample("Red."), sample("Red.", small)]
    good, bad = scored(make_orm(server.url, on_error="none")(), samples)
    assert good == pytest.approx(server.reward("Red.", QUESTION), abs=CLOSE)
    assert math.isnan(bad)
    with pytest.raises(BadRequest, match="image"):
        scored(make_orm(server.url)(), samples)


def test_pictures_without_a_place_follow_the_system_turn(server: Server) -> None:
    turns = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": QUESTION},
        {"role": "assistant", "content": "Red."},
    ]
    row = {"messages": turns, "images": [{"bytes": png(shape("red")), "path": None}]}
    (reward,) = scored(make_orm(server.url)(), [GRPOSample.from_row(row)])
    expected = server.reward("Red.", QUESTION, shape("red"), system="Be brief.")
    assert reward == pytest.approx(expected, abs=CLOSE)


def test_more_places_than_pictures(url: str) -> None:
    with pytest.raises(ValueError, match="2 pictures stand in the turns, 1 were given"):
        scored(make_orm(url)(), [sample("Red.", [png(shape("red"))], "<image> or <image>?")])
