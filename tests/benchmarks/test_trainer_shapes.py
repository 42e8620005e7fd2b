"""The two shapes trainers send carry the same rows, and the server gives them the same rewards."""

import json

import httpx
import pytest

from benchmarks.texts import Texts
from benchmarks.trainer_shapes import SIBLINGS, bodies, rows
from service import demo
from tests.live.conftest import serving


@pytest.fixture(scope="module")
def made():
    return rows(4 * SIBLINGS, Texts(demo.checkpoint_folder(), seed=1), seed=1)


def test_rows_are_groups_in_no_order(made):
    prompts = [row.prompt for row in made]
    assert len(made) == 4 * SIBLINGS
    assert {prompts.count(prompt) for prompt in prompts} == {SIBLINGS}
    assert len({row.query for row in made}) == len(made)
    assert sum("image_pad" in row.query for row in made) == len(made) / 2
    assert prompts != sorted(prompts)


def test_both_shapes_carry_every_row_once(made):
    singles, one_call = (
        [json.loads(body) for body in bodies(s, made)] for s in ("singles", "one call")
    )
    assert [len(body["query"]) for body in singles] == [1] * len(made)
    (whole,) = one_call
    for key in ("query", "prompts", "labels"):
        assert [value for body in singles for value in body[key]] == whole[key]


def test_both_are_answered_as_the_native_route_answers(made):
    with serving() as server, httpx.Client(base_url=server.ready().url, timeout=120) as client:
        native = client.post("/score", json={"items": [row.item for row in made]}).json()
        for shape in ("singles", "one call"):
            answers = [client.post("/get_reward", content=b).json() for b in bodies(shape, made)]
            rewards = [reward for answer in answers for reward in answer["rewards"]]
            assert rewards == pytest.approx(native["rewards"], abs=1e-4)
