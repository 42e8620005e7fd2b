"""Refusals beside the items: limits in number, content types, reserved features, unknown routes."""

import json

import pytest

from tests.api.serving import GOOD, error_of, served
from tests.inputs.pictures import data_uri, png

pytestmark = pytest.mark.anyio


def chat(part):
    return {"messages": [{"role": "user", "content": [part]}], "response": "y"}


VIDEO = {"type": "video", "video": "x"}
HASHED = {"sha256": "00" * 32}


@pytest.mark.parametrize(
    ("body", "param"),
    [
        pytest.param({"items": [GOOD, chat(VIDEO)]}, "items[1].messages[0].content[0]", id="video"),
        pytest.param(GOOD | {"image": HASHED}, "image", id="sha256"),
        pytest.param(GOOD | {"images": [HASHED]}, "images[0]", id="sha256-in-images"),
        pytest.param(
            chat({"type": "image", "image": HASHED}), "messages[0].content[0]", id="sha256-part"
        ),
        pytest.param(GOOD | {"image_table": {"a": HASHED}}, "image_table.a", id="sha256-in-table"),
        pytest.param(
            {"items": [{"prompt": "x", "response": [{"role": "assistant", "content": "y"}]}]},
            "items[0].response",
            id="turns-as-response",
        ),
        pytest.param(
            {"items": [{"prompt": "x", "responses": [[{"role": "assistant", "content": "y"}]]}]},
            "items[0].responses",
            id="turns-in-responses",
        ),
        pytest.param({"items": [GOOD], "group_size": 4}, "group_size", id="group_size"),
        pytest.param({"items": [GOOD], "priority": 1}, "priority", id="priority"),
        pytest.param({"items": [GOOD], "cache_salt": "x"}, "cache_salt", id="cache_salt"),
        pytest.param(GOOD | {"priority": 1}, "priority", id="priority-in-the-short-form"),
        pytest.param(GOOD | {"model": "basereward@main"}, "model", id="model-revision"),
    ],
)
async def test_reserved_feature_is_not_supported(body, param):
    async with served() as server:
        error = await server.refused(body, 422, "not_supported")
    assert error["param"] == param


async def test_too_many_items_is_413():
    async with served(max_responses=5) as server:
        await server.score({"items": [GOOD] * 3 + [{"prompt": "x", "responses": ["a", "b"]}]})
        before = server.model.encoded
        many = {"items": [GOOD] * 4 + [{"prompt": "x", "responses": ["a", "b"]}]}
        error = await server.refused(many, 413, "too_many_items")
        assert server.model.encoded == before + 1
    assert "6" in error["message"]
    assert "5" in error["message"]


async def test_too_many_distinct_images_is_413():
    uris = [data_uri(png(seed=seed)) for seed in range(4)]
    async with served(max_images=3) as server:
        await server.score({"items": [GOOD | {"images": uris[:3]}, GOOD | {"images": uris[:3]}]})
        before = len(server.model.rasters)
        items = [GOOD | {"image": uri} for uri in uris]
        await server.refused({"items": items}, 413, "too_many_images")
        assert len(server.model.rasters) == before


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/xml", "application/x-www-form-urlencoded", "image/png"]
)
async def test_wrong_content_type_is_415(kind):
    body = json.dumps(GOOD).encode()
    async with served() as server:
        headers = {"content-type": kind}
        await server.refused(body, 415, "unsupported_media_type", headers=headers)


@pytest.mark.parametrize(
    "kind", ["application/json", "Application/JSON; charset=utf-8", "application/vnd.x+json"]
)
async def test_json_content_types_are_taken(kind):
    body = json.dumps(GOOD).encode()
    async with served() as server:
        answer = await server.client.post("/score", content=body, headers={"content-type": kind})
    assert answer.status_code == 200


@pytest.mark.parametrize("path", ["/nothing", "/v1", "/v2/score", "/score/a", "/Score"])
async def test_unknown_route_is_404_in_the_same_shape(path):
    async with served() as server:
        answer = await server.client.post(path, json=GOOD)
        error_of(answer, 404, "not_found")
        await server.still_scores()


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/score"), ("PUT", "/v1/score"), ("POST", "/info")]
)
async def test_wrong_method_is_405_in_the_same_shape(method, path):
    async with served() as server:
        answer = await server.client.request(method, path)
        error_of(answer, 405, "method_not_allowed")
        assert answer.headers["allow"]
        await server.still_scores()
