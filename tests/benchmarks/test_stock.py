"""The baselines' model against the judge of the model tests, on a checkpoint that neither has made."""

import io

import pytest
from PIL import Image

from benchmarks.baselines.stock import StockModel
from benchmarks.shapes import Shapes
from benchmarks.traffic import Spec, generate
from tests.model.reference import StockModel as Judge

SPEC = Spec("A", 2, group=3, image_tokens=16, median_tokens=20)


@pytest.fixture(scope="module")
def stock(folder) -> StockModel:
    return StockModel(folder)


@pytest.fixture(scope="module")
def calls(folder):
    return [*generate(SPEC, folder), *generate(Spec("C", 2), folder)]


@pytest.fixture(scope="module")
def expected(folder, calls) -> list[float]:
    judge = Judge(folder)
    pictures = [
        [Image.open(io.BytesIO(call.image)).convert("RGB")] if call.image else [] for call in calls
    ]
    return [
        judge.reward(call.prompt, response, images)
        for call, images in zip(calls, pictures, strict=True)
        for response in call.responses
    ]


def test_one_by_one_it_gives_the_judges_rewards(stock, calls, expected):
    rows = [row for call in calls for row in stock.rows(call.prompt, call.image, call.responses)]
    assert [stock.score([row])[0] for row in rows] == pytest.approx(expected, abs=1e-5)
    assert max(expected) - min(expected) > 0.1  # so that equal means something


def test_one_padded_batch_of_mixed_rows_gives_them_too(stock, calls, expected):
    rows = [row for call in calls for row in stock.rows(call.prompt, call.image, call.responses)]
    assert stock.score(rows) == pytest.approx(expected, abs=1e-5)


def test_shapes_count_the_tokens_that_the_model_gets(stock, folder, calls):
    groups = Shapes(folder).groups(calls)
    rows = [row for call in calls for row in stock.rows(call.prompt, call.image, call.responses)]
    assert [length for group in groups for length in group.lengths] == [len(r.ids) for r in rows]
    ids = [row.ids.tolist() for row in rows[:3]]
    start = groups[0].prefix
    assert len({tuple(x[:start]) for x in ids}) == 1
    assert len({tuple(x[: start + 1]) for x in ids}) > 1
