"""Items join the line when ready: with `on_error: null` what is stuck costs nobody else; with `fail` none starts."""

import threading
from dataclasses import replace

import anyio
import pytest

from service.errors import InvalidRequest
from tests.api.serving import GOOD, error_of, response_staged, served
from tests.inputs.pictures import data_uri, png
from tests.models import WAIT_S, StandIn, reward

pytestmark = pytest.mark.anyio

SEEN = {"prompt": "p", "image": data_uri(png(40, 40)), "response": "seen"}
STUCK = {"prompt": "p", "image": data_uri(png(50, 50)), "response": "stuck"}


class Stuck(StandIn):
    """One picture is not decoded until it is let go."""

    def __init__(self):
        super().__init__()
        self.go = threading.Event()

    def patchify(self, raster):
        if raster.width == 50:
            assert self.go.wait(WAIT_S)
        return super().patchify(raster)


async def test_null_answers_the_good_ones_at_the_deadline():
    model = Stuck()
    async with served(model) as server:
        body = {"items": [GOOD, STUCK, SEEN, 5], "on_error": "null", "timeout_s": 1.0}
        answer = await server.score(body)
        model.go.set()
        assert answer["rewards"][0] == reward(**GOOD)
        assert answer["rewards"][1] is None
        assert answer["rewards"][2] is not None
        assert [(e["index"], e["code"]) for e in answer["errors"]] == [
            (1, "deadline_exceeded"),
            (3, "invalid_item"),
        ]
        await server.still_scores()


async def test_fail_scores_nothing_before_every_item_is_known_to_be_good():
    model = Stuck()
    async with served(model) as server:
        body = {"items": [GOOD, STUCK], "timeout_s": 0.5}
        answer = await server.client.post("/score", json=body)
        model.go.set()
        error = error_of(answer, 504, "deadline_exceeded")
        assert [e["index"] for e in error["items"]] == [1]
        assert GOOD["response"] not in model.seen


async def test_text_is_scored_while_pictures_are_decoded():
    model = Stuck()
    answers = []

    async def send(server):
        answers.append(await server.score({"items": [STUCK, GOOD], "on_error": "null"}))

    async with served(model) as server, anyio.create_task_group() as tasks:
        tasks.start_soon(send, server)
        await response_staged(model, GOOD["response"])
        assert answers == []
        model.go.set()
    assert None not in answers[0]["rewards"]


async def test_siblings_as_single_requests_share_the_picture_and_its_bytes():
    model = StandIn()
    bodies = [STUCK | {"response": str(i)} for i in range(50)]

    async def send(body):
        assert (await server.client.post("/score", json=body)).status_code == 200

    async with served(model) as server:
        async with anyio.create_task_group() as tasks:
            for body in bodies:
                tasks.start_soon(send, body)
        hits = await server.metric("basereward_picture_cache_hits_total")
    assert len(model.rasters) == 1
    assert hits == 49


class Picky(StandIn):
    """Cannot score responses that say so, by the encoder."""

    def encode(self, items, pictures):
        encoded = super().encode(items, pictures)
        refused = [
            {
                r: InvalidRequest("too long", code="item_too_long", response=r)
                for r, response in enumerate(item.responses)
                if "refuse" in response
            }
            for item in items
        ]
        return [replace(e, refused=r) for e, r in zip(encoded, refused, strict=True)]


async def test_a_large_group_is_prepared_in_parts_and_answered_as_one():
    """Indices are those of the group, in rewards, errors and warnings, whatever part a response was in."""
    responses = [f"answer {i}" for i in range(700)]
    responses[0] = responses[300] = responses[699] = "refuse"
    model = Picky()
    model.noted = {"answer 5": "noted", "answer 600": "noted"}
    async with served(model) as server:
        item = {"prompt": "p", "responses": responses}
        answer = await server.score({"items": [GOOD, item], "on_error": "null"})
        expected = [None if r == "refuse" else reward("p", r) for r in responses]
        assert answer["rewards"] == [reward(**GOOD), expected]
        bad = [(e["index"], e["response"], e["code"]) for e in answer["errors"]]
        assert bad == [(1, r, "item_too_long") for r in (0, 300, 699)]
        assert [(w["index"], w["response"]) for w in answer["warnings"]] == [(1, 5), (1, 600)]
        refused = await server.client.post("/score", json={"items": [GOOD, item]})
        error = error_of(refused, 422, "item_too_long")
        assert error["param"] == "items[1].responses[0]"
        assert [(e["index"], e["response"]) for e in error["items"]] == [(1, 0), (1, 300), (1, 699)]
        assert error["items"][1]["message"].startswith("items[1].responses[300]: ")
