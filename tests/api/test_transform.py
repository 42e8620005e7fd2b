"""`transform`: the raw reward, or its sigmoid, also where exp would overflow."""

import json
from decimal import Decimal, getcontext

import pytest

from tests.api.serving import GOOD, served
from tests.models import StandIn, reward

pytestmark = pytest.mark.anyio

getcontext().prec = 50
RAW = [0.0, 1.0, -1.0, 8.25, -8.25, 50.0, -50.0, 700.0, -700.0, 1e6, -1e6, 1e300, -1e300]


def sigmoid(reward, temperature=1.0, offset=0.0):
    """In exact arithmetic, so that the server's way around overflow is checked by another way."""
    x = (Decimal(reward) - Decimal(offset)) / Decimal(temperature)
    if abs(x) > 2000:
        return 1.0 if x > 0 else 0.0
    return float(1 / (1 + (-x).exp()))


@pytest.mark.parametrize("raw", RAW)
@pytest.mark.parametrize(
    ("transform", "parameters"),
    [
        pytest.param("sigmoid", {}, id="plain"),
        pytest.param({"sigmoid": {}}, {}, id="defaults"),
        pytest.param({"sigmoid": {"temperature": 4}}, {"temperature": 4}, id="temperature"),
        pytest.param({"sigmoid": {"offset": -2.5}}, {"offset": -2.5}, id="offset"),
        pytest.param(
            {"sigmoid": {"temperature": 0.001, "offset": 3}},
            {"temperature": 0.001, "offset": 3},
            id="both",
        ),
    ],
)
async def test_sigmoid(raw, transform, parameters):
    model = StandIn()
    model.answers["x"] = raw
    async with served(model) as server:
        answer = await server.score({"prompt": "p", "response": "x", "transform": transform})
    assert answer["reward"] == pytest.approx(sigmoid(raw, **parameters), rel=1e-12, abs=1e-300)


@pytest.mark.parametrize("raw", [*RAW, 1e-30, 0.1, 3.4028234663852886e38])
async def test_none_is_the_raw_number(raw):
    model = StandIn()
    model.answers["x"] = raw
    async with served(model) as server:
        plain = await server.score({"prompt": "p", "response": "x"})
        stated = await server.score({"prompt": "p", "response": "x", "transform": "none"})
    assert plain["reward"] == stated["reward"] == raw


@pytest.mark.parametrize("raw", [1e300, -1e300])
async def test_a_tiny_temperature_still_gives_a_finite_number(raw):
    model = StandIn()
    model.answers["x"] = raw
    body = {"prompt": "p", "response": "x", "transform": {"sigmoid": {"temperature": 1e-300}}}
    async with served(model) as server:
        answer = await server.score(body)
    assert answer["reward"] == (1.0 if raw > 0 else 0.0)


async def test_groups_and_nulls_are_transformed_in_place():
    model = StandIn()
    model.answers["bad"] = float("nan")
    items = [GOOD, {"prompt": "p", "responses": ["a", "bad"]}]
    async with served(model) as server:
        body = {"items": items, "transform": "sigmoid", "on_error": "null"}
        text = json.dumps((await server.score(body))["rewards"])
    first, (second, third) = json.loads(text)
    assert first == pytest.approx(sigmoid(reward(**GOOD)), rel=1e-12)
    assert second == pytest.approx(sigmoid(reward("p", "a")), rel=1e-12)
    assert third is None
