"""Deadlines: the smallest of those stated counts, and what is scored by then is answered on request."""

import pytest

from tests.api.serving import GOOD, error_of, served
from tests.models import StandIn, reward

pytestmark = pytest.mark.anyio

EMPTY = {"prompt": "", "response": "x"}


@pytest.mark.parametrize(
    ("body", "headers", "params"),
    [
        pytest.param({"timeout_s": 0.2}, {}, {}, id="body"),
        pytest.param({}, {"x-request-timeout-s": "0.2"}, {}, id="header"),
        pytest.param({}, {}, {"timeout_s": "0.2"}, id="query"),
        pytest.param({"timeout_s": 60}, {"x-request-timeout-s": "0.2"}, {}, id="header-smaller"),
        pytest.param({"timeout_s": 0.2}, {"x-request-timeout-s": "60"}, {}, id="body-smaller"),
        pytest.param({"timeout_s": 60}, {}, {"timeout_s": "0.2"}, id="query-smaller"),
    ],
)
async def test_the_deadline_is_504(body, headers, params):
    model = StandIn()
    async with served(model) as server:
        model.hold()
        answer = await server.client.post(
            "/score", json=GOOD | body, headers=headers, params=params
        )
        error_of(answer, 504, "deadline_exceeded")
        model.release()
        await server.still_scores()


async def test_the_settings_deadline_goes_for_requests_that_name_none():
    model = StandIn()
    async with served(model, timeout_s=0.2) as server:
        model.hold()
        answer = await server.client.post("/score", json=GOOD)
        error_of(answer, 504, "deadline_exceeded")
        assert await server.metric('basereward_items_total{outcome="expired"}') == 1


@pytest.mark.parametrize("stated", ["0", "-1", "nan", "inf", "soon", "1e9"])
async def test_a_deadline_that_is_none_is_refused(stated):
    async with served() as server:
        headers = {"x-request-timeout-s": stated}
        error = await server.refused(GOOD, 422, "invalid_item", headers=headers)
    assert error["param"] == "timeout_s"


async def test_null_answers_what_is_scored_at_the_deadline():
    """One response a step; the second step is held until the deadline has passed."""

    class SecondHeld(StandIn):
        def score(self, staged):
            if self.steps:
                self.hold()
            return super().score(staged)

    model = SecondHeld()
    items = [{"prompt": "p", "responses": ["a", "b"]}, EMPTY, GOOD]
    async with served(model, max_batch_responses=1) as server:
        body = {"items": items, "on_error": "null", "timeout_s": 1.0}
        answer = await server.score(body)
    assert answer["rewards"] == [[reward("p", "a"), None], None, None]
    assert [(e["index"], e["response"], e["code"]) for e in answer["errors"]] == [
        (0, 1, "deadline_exceeded"),
        (1, 0, "invalid_item"),
        (2, 0, "deadline_exceeded"),
    ]
