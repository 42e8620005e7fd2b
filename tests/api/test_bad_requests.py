"""Requests refused as a whole: broken JSON, unknown keys, and options of the wrong kind."""

import json

import pytest

from tests.api.serving import GOOD, served

pytestmark = pytest.mark.anyio

BROKEN = [
    pytest.param(b"", id="empty"),
    pytest.param(b"hello", id="text"),
    pytest.param(b'{"prompt": "x", "response": "y"', id="cut"),
    pytest.param(b'{"prompt": "x", "response": "y"} {}', id="two-values"),
    pytest.param(b'{"prompt": "\\ud800", "response": "y"}', id="lone-high-surrogate"),
    pytest.param(b'{"prompt": "x", "response": "\\udfff"}', id="lone-low-surrogate"),
    pytest.param(b'{"prompt": "x", "response": "\xed\xa0\x80"}', id="surrogate-in-utf-8"),
    pytest.param(b'{"prompt": "x", "response": "\xff"}', id="not-utf-8"),
    pytest.param(b'{"prompt": "x", "response": "y", "timeout_s": NaN}', id="nan"),
    pytest.param(b'{"prompt": "x", "response": "y", "timeout_s": Infinity}', id="infinity"),
    pytest.param(b'{"prompt": "x", "response": "y", "timeout_s": -Infinity}', id="minus-infinity"),
    pytest.param(b'{"prompt": "x", "response": "y", "timeout_s": 1e999}', id="huge-number"),
    pytest.param(b"[" * 100_000, id="deep-nesting"),
    pytest.param(b'{"a":' * 5000 + b"1" + b"}" * 5000, id="deep-objects"),
    pytest.param(b'{"prompt": "x", "response": "y",}', id="trailing-comma"),
    pytest.param(b"\x00", id="nul"),
]


@pytest.mark.parametrize("body", BROKEN)
async def test_body_that_is_not_json_is_malformed(body):
    headers = {"content-type": "application/json"}
    async with served() as server:
        await server.refused(body, 400, "malformed_json", headers=headers)


@pytest.mark.parametrize("body", [[], [GOOD], "text", 5, None, True])
async def test_body_that_is_not_an_object_is_invalid(body):
    async with served() as server:
        await server.refused(json.dumps(body).encode(), 422, "invalid_item")


DEEP = b"[" * 900 + b"]" * 900  # as deep as the JSON parser just lets through


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b'{"prompt": "x", "response": "y", "system": %b}', id="item-key"),
        pytest.param(b'{"prompt": "x", "response": "y", "colour": %b}', id="unknown-key"),
        pytest.param(b'{"prompt": "x", "response": "y", "transform": %b}', id="option"),
        pytest.param(
            b'{"messages": [{"role": "user", "content": %b}], "response": "y"}', id="content"
        ),
        pytest.param(b'{"items": %b}', id="items"),
    ],
)
async def test_deep_nesting_is_malformed_wherever_it_stands(body):
    async with served() as server:
        error = await server.refused(body % DEEP, 400, "malformed_json")
    assert "64" in error["message"]


@pytest.mark.parametrize("items", [[], {}, "text", 5, {"prompt": "x"}])
async def test_no_items_is_invalid(items):
    async with served() as server:
        error = await server.refused({"items": items}, 422, "invalid_item")
    assert error["param"] == "items"


PART = {"type": "text", "text": "x"}


def chat(part):
    return {"messages": [{"role": "user", "content": [part]}], "response": "y"}


@pytest.mark.parametrize(
    ("body", "param"),
    [
        pytest.param({"items": [GOOD], "colour": 1}, "colour", id="top"),
        pytest.param({"items": [GOOD], "prompt": "x"}, "prompt", id="item-key-beside-items"),
        pytest.param(GOOD | {"colour": 1}, "colour", id="short-form"),
        pytest.param({"items": [GOOD | {"colour": 1}]}, "items[0].colour", id="item"),
        pytest.param({"items": [GOOD | {"model": "x"}]}, "items[0].model", id="option-in-an-item"),
        pytest.param(
            {"items": [GOOD | {"image": {"ref": "a", "colour": 1}}]}, "items[0].image", id="ref"
        ),
        pytest.param(
            {"messages": [{"role": "user", "content": "x", "stream": 1}], "response": "y"},
            "messages[0].stream",
            id="message",
        ),
        pytest.param(chat(PART | {"colour": 1}), "messages[0].content[0]", id="text-part"),
        pytest.param(
            chat({"type": "image_url", "image_url": {"url": "ref:a", "colour": 1}}),
            "messages[0].content[0]",
            id="image-url",
        ),
        pytest.param(
            chat({"type": "image", "image": "x", "colour": 1}), "messages[0].content[0]", id="image"
        ),
        pytest.param(
            GOOD | {"transform": {"sigmoid": {}, "colour": 1}}, "transform", id="transform"
        ),
        pytest.param(GOOD | {"transform": {"sigmoid": {"colour": 1}}}, "transform", id="sigmoid"),
    ],
)
async def test_unknown_key_is_refused_and_named(body, param):
    async with served() as server:
        error = await server.refused(body, 422, "invalid_item")
    assert error["param"].startswith(param)
    assert "unknown key" in error["message"]
    assert error["param"].endswith((".colour", "prompt", ".model", ".stream", "colour"))


async def test_unknown_query_parameter_is_refused_and_named():
    async with served() as server:
        error = await server.refused(GOOD, 422, "invalid_item", params={"colour": "1"})
    assert error["param"] == "colour"


@pytest.mark.parametrize(
    ("options", "param"),
    [
        pytest.param({"on_error": "ignore"}, "on_error", id="on_error"),
        pytest.param({"truncate": "left"}, "truncate", id="truncate"),
        pytest.param({"transform": "softmax"}, "transform", id="transform"),
        pytest.param({"transform": {"sigmoid": {"temperature": 0}}}, "transform", id="temperature"),
        pytest.param({"timeout_s": 0}, "timeout_s", id="timeout-0"),
        pytest.param({"timeout_s": -1}, "timeout_s", id="timeout-negative"),
        pytest.param({"timeout_s": "soon"}, "timeout_s", id="timeout-text"),
        pytest.param({"model": 5}, "model", id="model"),
        pytest.param({"image_table": []}, "image_table", id="table-list"),
        pytest.param({"image_table": {"street": 5}}, "image_table.street", id="table-value"),
    ],
)
async def test_option_of_the_wrong_kind_is_named(options, param):
    async with served() as server:
        error = await server.refused(GOOD | options, 422, "invalid_item")
    assert error["param"].startswith(param)


async def test_unknown_model_is_404():
    async with served() as server:
        error = await server.refused(GOOD | {"model": "other"}, 404, "unknown_model")
        assert error["param"] == "model"
        await server.refused(GOOD, 404, "unknown_model", params={"model": "other"})
        await server.score(GOOD, params={"model": "basereward"})


LONG_NAME = "k" * 1_000_000


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(GOOD | {LONG_NAME: 1}, id="key"),
        pytest.param({"items": [GOOD | {LONG_NAME: 1}]}, id="item-key"),
        pytest.param(GOOD | {"image": {"ref": LONG_NAME}}, id="ref"),
        pytest.param(GOOD | {"image_table": {LONG_NAME: {"sha256": "x"}}}, id="table"),
        pytest.param(GOOD | {"model": LONG_NAME}, id="model"),
        pytest.param(chat({"type": LONG_NAME}), id="part-type"),
        pytest.param(GOOD | {"transform": LONG_NAME}, id="transform"),
    ],
)
async def test_a_long_name_is_not_repeated_at_length(body):
    async with served() as server:
        answer = await server.client.post("/score", json=body)
    assert answer.status_code in (404, 422)
    assert len(answer.content) < 5000
