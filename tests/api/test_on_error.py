"""What a bad item does to its request: `on_error` fail and null, and the model's own faults."""

import anyio
import pytest

from tests.api.serving import GOOD, error_of, response_staged, served, step_entered
from tests.inputs.pictures import data_uri, encoded, pixels, png
from tests.models import StandIn, reward

pytestmark = pytest.mark.anyio

EMPTY = {"prompt": "", "response": "x"}
GIF = GOOD | {"image": data_uri(encoded(pixels(), "GIF"))}
BROKEN_PICTURE = GOOD | {"image": "@@@"}
NO_REF = GOOD | {"image": {"ref": "nobody"}}


async def test_fail_lists_every_bad_item_and_takes_the_lowest_ones_code():
    items = [GOOD, GIF, GOOD, EMPTY, BROKEN_PICTURE, NO_REF]
    async with served() as server:
        error = await server.refused({"items": items}, 422, "image_format")
        assert server.model.seen == [GOOD["response"]]
    assert error["param"] == "items[1].image"
    assert [(e["index"], e["code"]) for e in error["items"]] == [
        (1, "image_format"),
        (3, "invalid_item"),
        (4, "image_decode"),
        (5, "unknown_image_ref"),
    ]
    assert [e["message"].partition(":")[0] for e in error["items"]] == [
        "items[1].image",
        "items[3].prompt",
        "items[4].image",
        "items[5].image",
    ]
    assert error["message"] == error["items"][0]["message"]


async def test_fail_takes_the_lowest_index_over_kinds_of_error():
    items = [GOOD, NO_REF, GIF, {"prompt": "p", "colour": 1}]
    async with served() as server:
        error = await server.refused({"items": items}, 422, "unknown_image_ref")
    assert [e["index"] for e in error["items"]] == [1, 2, 3]


async def test_of_thousands_of_bad_items_the_first_thousand_are_listed():
    async with served() as server:
        answer = await server.client.post("/score", json={"items": [GOOD, *[EMPTY] * 4095]})
    error = error_of(answer, 422, "invalid_item")
    assert [e["index"] for e in error["items"]] == list(range(1, 1001))


async def test_the_bad_response_of_a_group_is_named():
    group = {"prompt": "p", "responses": ["a", "b" * 2000, "c"]}
    async with served(max_text_chars=1000) as server:
        error = await server.refused({"items": [GOOD, group]}, 422, "item_too_long")
    assert error["param"] == "items[1].responses[1]"
    assert [(e["index"], e["response"]) for e in error["items"]] == [(1, 1)]


async def test_null_answers_the_good_ones():
    items = [GOOD, GIF, {"prompt": "p", "responses": ["a", "b"]}, EMPTY, {"colour": 1}, 5]
    async with served() as server:
        answer = await server.score({"items": items, "on_error": "null"})
    group = [reward("p", "a"), reward("p", "b")]
    assert answer["rewards"] == [reward(**GOOD), None, group, None, None, None]
    assert [(e["index"], e["code"]) for e in answer["errors"]] == [
        (1, "image_format"),
        (3, "invalid_item"),
        (4, "invalid_item"),
        (5, "invalid_item"),
    ]
    assert answer["errors"][0]["message"].startswith("items[1].image: ")


async def test_null_keeps_the_shape_of_a_bad_group():
    group = {"prompt": "", "responses": ["a", "b", "c"]}
    async with served() as server:
        answer = await server.score({"items": [group, GOOD], "on_error": "null"})
    assert answer["rewards"] == [[None, None, None], reward(**GOOD)]
    assert {e["index"] for e in answer["errors"]} == {0}


async def test_null_keeps_the_shape_of_a_group_with_a_bad_picture():
    group = {"prompt": "p", "image": "@@@", "responses": ["a", "b", "c"]}
    async with served() as server:
        answer = await server.score({"items": [group, GOOD], "on_error": "null"})
    assert answer["rewards"] == [[None, None, None], reward(**GOOD)]


async def test_null_with_nothing_good_answers_nulls():
    async with served() as server:
        answer = await server.score({"items": [GIF, EMPTY], "on_error": "null"})
        assert server.model.seen == []
    assert answer["rewards"] == [None, None]


async def test_null_in_the_short_form():
    async with served() as server:
        answer = await server.score(EMPTY | {"on_error": "null"})
    assert answer["reward"] is None
    assert answer["rewards"] == [None]
    assert [e["code"] for e in answer["errors"]] == ["invalid_item"]


async def test_null_keeps_ids_of_bad_items():
    async with served() as server:
        items = [EMPTY | {"id": "a"}, GOOD | {"id": "b"}]
        answer = await server.score({"items": items, "on_error": "null"})
    assert answer["ids"] == ["a", "b"]


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
async def test_non_finite_reward_is_an_error_of_its_response(number):
    model = StandIn()
    model.answers["bad"] = number
    items = [GOOD, {"prompt": "p", "responses": ["a", "bad", "c"]}]
    async with served(model) as server:
        error = await server.refused({"items": items}, 500, "non_finite_reward")
        assert [(e["index"], e["response"]) for e in error["items"]] == [(1, 1)]
        answer = await server.score({"items": items, "on_error": "null"})
        assert await server.metric("basereward_nonfinite_rewards_total") == 2
    assert answer["rewards"] == [reward(**GOOD), [reward("p", "a"), None, reward("p", "c")]]
    assert [(e["index"], e["response"], e["code"]) for e in answer["errors"]] == [
        (1, 1, "non_finite_reward")
    ]


async def test_model_failure_is_an_error_of_the_one_response():
    model = StandIn()
    model.broken.add("bad")
    items = [GOOD, {"prompt": "p", "responses": ["a", "bad", "c"]}]
    async with served(model) as server:
        error = await server.refused({"items": items}, 500, "model_failure")
        assert [(e["index"], e["response"]) for e in error["items"]] == [(1, 1)]
        assert not [secret for secret in SECRETS if secret in str(error)]
        answer = await server.score({"items": items, "on_error": "null"})
    assert answer["rewards"] == [reward(**GOOD), [reward("p", "a"), None, reward("p", "c")]]
    assert [(e["index"], e["response"], e["code"]) for e in answer["errors"]] == [
        (1, 1, "model_failure")
    ]


async def test_other_requests_of_a_failing_step_are_scored():
    model = StandIn()
    model.broken.add("bad")
    model.hold()
    codes = {}

    async def send(name, response):
        answer = await server.client.post("/score", json={"prompt": "p", "response": response})
        codes[name] = answer.status_code, answer.json().get("reward")

    async with served(model) as server, anyio.create_task_group() as tasks:
        tasks.start_soon(send, "first", "runs first")
        await step_entered(model)
        tasks.start_soon(send, "second", "is staged")
        await response_staged(model, "is staged")
        for name in ("good", "bad", "fine"):
            tasks.start_soon(send, name, name)
        await server.metric_becomes("basereward_queue_depth", 3)
        model.release()
    assert sorted(model.staged[2]) == ["bad", "fine", "good"]  # they did share a step
    assert codes["bad"] == (500, None)
    for name, response in (("first", "runs first"), ("good", "good"), ("fine", "fine")):
        assert codes[name] == (200, reward("p", response))


SECRETS = ("secret", "/a/path", "10.0.0.1", "RuntimeError")


@pytest.mark.parametrize("where", ["encode", "patchify"])
async def test_a_model_that_cannot_prepare_an_item_fails_that_item_only(where):
    model = StandIn()
    picture = data_uri(png(50, 50))
    if where == "encode":
        model.unencodable.add("bad")
    else:
        model.unpatchable = (50, 50)
    bad = {"prompt": "p", "image": picture, "response": "bad"}
    async with served(model) as server:
        answer = await server.score({"items": [GOOD, bad], "on_error": "null"})
        assert answer["rewards"] == [reward(**GOOD), None]
        assert [(e["index"], e["code"]) for e in answer["errors"]] == [(1, "model_failure")]
        assert not [secret for secret in SECRETS if secret in str(answer)]
        await server.refused({"items": [GOOD, bad]}, 500, "model_failure")
