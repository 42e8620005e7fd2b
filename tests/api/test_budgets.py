"""Budgets are judged before the work: members, rows, turns, parts, pictures and characters, each by its own limit."""

import json

import pytest

from service.inputs import templated
from tests.api.serving import GOOD, error_of, served
from tests.inputs.pictures import data_uri, png

pytestmark = pytest.mark.anyio

INFER = "/v2/models/basereward/infer"
TURN = {"role": "user", "content": "a"}
PART = {"type": "text", "text": "a"}


def element(**item) -> str:
    return json.dumps(item)


def tensor(data, shape=None, **more):
    return {
        "inputs": [
            {"name": "i", "datatype": "BYTES", "shape": shape or [len(data)], "data": data} | more
        ]
    }


ROWS = [
    pytest.param("/score", lambda n: {"items": [GOOD] * n}, id="score"),
    pytest.param("/score", lambda n: {"prompt": "p", "responses": ["a"] * n}, id="group"),
    pytest.param("/get_reward", lambda n: {"query": ["a"] * n}, id="get_reward"),
    pytest.param("/classify", lambda n: {"input": ["a"] * n}, id="classify"),
    pytest.param("/v1/score/evaluation", lambda n: {"messages": ["a"] * n}, id="evaluation"),
    pytest.param(INFER, lambda n: tensor(["{}"] * n), id="infer"),
    pytest.param(INFER, lambda n: tensor([], [n]), id="infer-shape"),
    pytest.param(INFER, lambda n: tensor([], [2**62, 2**62, n]), id="infer-product"),
    pytest.param(
        "/aggregate_metrics", lambda n: {"verify_responses": [{"reward": 1.0}] * n}, id="aggregate"
    ),
]


@pytest.mark.parametrize(("path", "body"), ROWS)
async def test_rows_are_counted_before_they_are_made(path, body, monkeypatch):
    def looked_at(*_):
        raise AssertionError("a row was looked at")

    monkeypatch.setattr(templated, "Chat", looked_at)
    async with served(max_responses=50) as server:
        answer = await server.client.post(path, json=body(51))
        message = error_of(answer, 413, "too_many_items")["message"]
        await server.still_scores()
    assert "exceed 50" in message


MEMBERS = [
    ("/score", {"items": [[]] * 400}),
    ("/score", GOOD | {"colour": [[]] * 400}),
    ("/get_reward", {"query": ["a"], "labels": [[[]] * 400]}),
    ("/get_reward", {"query": ["a"], "prompts": ["[{}" + ",[]" * 400 + "]"]}),
    ("/get_reward?image_from=labels", {"query": ["a"], "labels": ["[" + "[]," * 400 + "[]]"]}),
    ("/reward", {"prompt": [{}] * 400, "response": "a"}),
    (
        "/reward?image_from=label",
        {"prompt": "p", "response": "a", "label": '{"images":[' + "1," * 1300 + "1]}"},
    ),
    ("/verify", {"responses_create_params": {"input": [{}] * 400}}),
    ("/classify", {"messages": [{}] * 400}),
    ("/v1/score/evaluation", {"messages": ["a"] * 2000}),
    (INFER, tensor([element(prompt="p", response=["a"] * 1500)])),
    ("/aggregate_metrics", {"verify_responses": [{}] * 400}),
]


@pytest.mark.parametrize(("path", "body"), MEMBERS)
async def test_members_of_the_json_and_of_the_json_in_it_are_limited(path, body):
    async with served(max_json_members=1200) as server:
        answer = await server.client.post(path, json=body)
        message = error_of(answer, 413, "body_too_large")["message"]
        await server.still_scores()
    assert "max_json_members" in message
    assert "1200" in message


DEEP = "[" * 64 + "1" + "]" * 64


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/get_reward", '{"query":["a"],"labels":[%s]}'),
        ("/reward", '{"prompt":%s,"response":"a"}'),
        ("/verify", '{"responses_create_params":{"input":"a"},"x":%s}'),
        ("/classify", '{"messages":%s}'),
        ("/v1/score/evaluation", '{"messages":%s}'),
        (INFER, '{"inputs":%s}'),
        ("/aggregate_metrics", '{"verify_responses":%s}'),
        (INFER, tensor([element(prompt="p", response="a", id=[0]).replace("[0]", f"[{DEEP}]")])),
        ("/get_reward", {"query": ["a"], "prompts": ['[{"a":' + DEEP + "}]"]}),
        ("/reward", {"prompt": '[{"a":' + DEEP + "}]", "response": "a"}),
        ("/get_reward?image_from=labels", {"query": ["a"], "labels": [f"[{DEEP}]"]}),
    ],
)
async def test_what_is_nested_deeper_than_64_is_malformed(path, body):
    raw = body % f"[{DEEP}]" if isinstance(body, str) else json.dumps(body)
    async with served() as server:
        headers = {"content-type": "application/json"}
        answer = await server.client.post(path, content=raw, headers=headers)
        assert "64" in error_of(answer, 400, "malformed_json")["message"]
        await server.still_scores()


SIZES = [
    ({"messages": [TURN] * 9, "response": "r"}, "invalid_item", "messages", "max_turns"),
    (
        {"messages": [TURN | {"content": [PART] * 13}], "response": "r"},
        "invalid_item",
        "messages",
        "max_parts",
    ),
    (
        {
            "messages": [TURN | {"content": [PART] * 6}, TURN | {"content": [PART] * 7}],
            "response": "r",
        },
        "invalid_item",
        "messages",
        "max_parts",
    ),
]


@pytest.mark.parametrize(("item", "code", "where", "limit"), SIZES)
async def test_turns_and_parts_of_an_item_are_limited(item, code, where, limit):
    async with served(max_turns=8, max_parts=12) as server:
        await server.score({"items": [{"messages": [TURN] * 8, "response": "r"}]})
        error = await server.refused({"items": [GOOD, item]}, 422, code)
    assert error["param"] == f"items[1].{where}"
    assert limit in error["message"]


async def test_one_picture_stands_in_no_more_places_than_pictures_are_allowed():
    table = {"a": data_uri(png())}
    async with served(max_images=3) as server:
        body = {"prompt": "p", "response": "r", "images": [{"ref": "a"}] * 3, "image_table": table}
        await server.score(body)
        error = await server.refused(body | {"images": [{"ref": "a"}] * 4}, 413, "too_many_images")
        assert error["param"] == "images"
        entries = body | {"image_table": {str(i): "A" for i in range(4)}}
        error = await server.refused(entries, 413, "too_many_images")
        assert error["param"] == "image_table"
        files = {str(i): ("a.png", b"x", "image/png") for i in range(6)}
        files |= {"request": (None, json.dumps(GOOD), "application/json")}
        error_of(await server.client.post("/score", files=files), 413, "too_many_images")


HEADER = "<|im_start|>assistant\n"
LONG = "x" * 101


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/get_reward", {"query": [LONG]}),
        ("/get_reward", {"query": ["x"], "prompts": [LONG]}),
        ("/get_reward", {"query": ["x"], "prompts": [json.dumps([TURN | {"content": LONG}])]}),
        ("/classify", {"input": LONG}),
        (
            "/classify",
            {"messages": [TURN | {"content": LONG}, {"role": "assistant", "content": "a"}]},
        ),
        ("/v1/score/evaluation", {"messages": [LONG]}),
        ("/reward", {"prompt": LONG, "response": "a"}),
        ("/reward", {"prompt": "a", "response": LONG}),
        ("/reward", {"prompt": [TURN | {"content": LONG}], "response": "a"}),
        (INFER, tensor([element(prompt=LONG, response="a")])),
    ],
)
async def test_texts_are_measured_before_they_are_taken_apart(path, body, monkeypatch):
    def taken_apart(text):
        assert len(text) <= 100 or HEADER in text
        return []

    monkeypatch.setattr(templated, "turns_of", taken_apart)
    async with served(max_text_chars=100) as server:
        answer = await server.client.post(path, json=body)
        if "query" in body and "[{" in str(body.get("prompts")):
            error_of(answer, 422, "invalid_item")  # the query is not that chat
        else:
            message = error_of(answer, 422, "item_too_long")["message"]
            assert "101 characters exceed 100" in message
        await server.still_scores()


async def test_pads_and_padding_are_no_text_that_is_measured():
    pads = "<|vision_start|>" + "<|image_pad|>" * 60 + "<|vision_end|>"
    text = "<|im_start|>user\n{}What?<|im_end|>\n" + HEADER
    query = "<|endoftext|>" * 20 + text.format(pads) + "Red.<|im_end|>" + "<|endoftext|>" * 20
    body = {
        "query": [query],
        "prompts": [text.format("<|image_pad|>")],
        "labels": [data_uri(png())],
    }
    async with served(max_text_chars=150) as server:
        answer = await server.client.post("/get_reward?image_from=labels", json=body)
        assert answer.status_code == 200, answer.text


async def test_a_rollout_that_is_answered_whole_is_limited():
    body = {
        "responses_create_params": {"input": "What?"},
        "response": {"output": [{"type": "message", "role": "assistant", "content": "Red."}]},
        "x": "a" * 1000,
    }
    async with served(max_echo_bytes=2000) as server:
        answer = await server.client.post("/verify", json=body)
        assert answer.json()["x"] == body["x"]
        answer = await server.client.post("/verify", json=body | {"x": "a" * 2000})
        assert "max_echo_bytes" in error_of(answer, 413, "body_too_large")["message"]


async def test_the_first_thousand_bad_items_are_named():
    async with served() as server:
        error = await server.refused({"items": [GOOD] + [5] * 1500}, 422, "invalid_item")
    assert [e["index"] for e in error["items"]] == list(range(1, 1001))
