"""A schema's faults in the caller's words: the field at fault and what it must be, nothing of the schema's insides."""

import pytest

from service.api.faults import fault
from tests.api.serving import GOOD, error_of, served

pytestmark = pytest.mark.anyio

INFER = "/v2/models/basereward/infer"


def turn(content):
    return {"messages": [{"role": "user", "content": content}], "response": "r"}


def tensor(**more):
    return {"inputs": [{"name": "i", "datatype": "BYTES", "shape": [1], "data": ["{}"]} | more]}


TEXT_OR_LIST = "must be a text or a list, of one element too"
TEXT_OR_OBJECT = "must be a text or an object"
CASES = [
    (
        "/score",
        GOOD | {"transform": {"sigmoid": {"temperature": 0}}},
        "transform.sigmoid.temperature",
        "must be greater than 0",
    ),
    (
        "/score",
        GOOD | {"transform": {"sigmoid": {"offset": "1"}}},
        "transform.sigmoid.offset",
        "must be a number",
    ),
    (
        "/score",
        GOOD | {"transform": "softmax"},
        "transform",
        "must be none or sigmoid",
    ),
    ("/score", GOOD | {"transform": 5}, "transform", TEXT_OR_OBJECT),
    ("/score", GOOD | {"transform": {}}, "transform.sigmoid", "is missing"),
    ("/score", GOOD | {"timeout_s": 1e9}, "timeout_s", "must be at most 86400"),
    ("/score", GOOD | {"on_error": "skip"}, "on_error", "must be fail or null"),
    ("/score", turn({"type": "text", "text": "a"}), "messages[0].content", TEXT_OR_LIST),
    ("/score", turn(5), "messages[0].content", TEXT_OR_LIST),
    ("/score", turn([5]), "messages[0].content[0]", "must be an object"),
    ("/score", turn([{"text": "a"}]), "messages[0].content[0]", "a part needs a type"),
    (
        "/score",
        turn([{"type": "audio"}]),
        "messages[0].content[0]",
        "unknown type of part: text, image_url, image are known",
    ),
    (
        "/score",
        turn([{"type": "text", "text": 5}]),
        "messages[0].content[0].text",
        "must be a text",
    ),
    (
        "/score",
        turn([{"type": "image_url", "image_url": 5}]),
        "messages[0].content[0].image_url",
        TEXT_OR_OBJECT,
    ),
    (
        "/score",
        turn([{"type": "image_url", "image_url": {}}]),
        "messages[0].content[0].image_url.url",
        "is missing",
    ),
    (
        "/score",
        {"messages": [{"role": "tool", "content": "a"}], "response": "r"},
        "messages[0].role",
        "must be system, user or assistant",
    ),
    ("/score", GOOD | {"image": 5}, "image", TEXT_OR_OBJECT),
    ("/score", GOOD | {"image": {}}, "image.ref", "is missing"),
    ("/score", GOOD | {"image": {"ref": 5}}, "image.ref", "must be a text"),
    ("/score", GOOD | {"images": "a"}, "images", "must be a list"),
    ("/score", {"prompt": "p", "responses": "abc"}, "responses", "must be a list"),
    ("/score", {"prompt": "p", "responses": []}, "responses", "must not be empty"),
    ("/score", {"prompt": "p", "responses": ["a", 5]}, "responses[1]", "must be a text"),
    ("/score", GOOD | {"image": {"(object)": 1}}, "image.(object)", "unknown key"),
    (INFER, tensor(datatype="bytes"), "inputs[0].datatype", "must be BYTES"),
    (INFER, tensor(shape=[-1, -1]), "inputs[0].shape[0]", "must be at least 0"),
    (INFER, tensor(shape=[True]), "inputs[0].shape[0]", "must be a whole number"),
    (INFER, tensor(shape=[1.5]), "inputs[0].shape[0]", "must be a whole number"),
    (INFER, tensor(shape=[1] * 4), "inputs[0].shape", "must have at most 3 elements"),
    (INFER, tensor(shape=[]), "inputs[0].shape", "must not be empty"),
    (INFER, tensor(colour=1), "inputs[0].colour", "unknown key"),
    (
        INFER,
        tensor(parameters={"binary_data_size": True}),
        "inputs[0].parameters.binary_data_size",
        "must be a number of bytes",
    ),
    ("/classify", {"input": [["a"]]}, "input[0]", "must be a text"),
    ("/classify", {"input": 5}, "input", TEXT_OR_LIST),
    (
        "/classify",
        {"input": "a", "use_activation": "maybe"},
        "use_activation",
        "must be true or false",
    ),
    ("/reward", {"prompt": 5, "response": "a"}, "prompt", TEXT_OR_LIST),
    ("/get_reward", {"prompts": ["a"]}, "query", "is missing"),
    ("/get_reward", {"query": ["a"], "Query": 1}, "Query", "unknown key"),
    ("/v1/score/evaluation", {"messages": {"a": 1}}, "messages", "must be a list"),
]


@pytest.mark.parametrize(("path", "body", "param", "words"), CASES)
async def test_a_fault_is_said_in_plain_words(path, body, param, words):
    async with served() as server:
        answer = await server.client.post(path, json=body)
        error = error_of(answer, 422, "invalid_item")
    assert (error["param"], error["message"]) == (param, f"{param}: {words}")


@pytest.mark.parametrize(
    "path", ["/get_reward", "/reward", "/classify", "/v1/score/evaluation", INFER, "/verify"]
)
async def test_a_body_that_is_no_object_is_said_so(path):
    async with served() as server:
        answer = await server.client.post(path, json=["a"])
    assert error_of(answer, 422, "invalid_item")["message"] == "the body must be a JSON object"


@pytest.mark.parametrize("count", [1, 2000])
async def test_faults_beyond_the_first_cost_nothing(count, monkeypatch):
    """However many elements or keys are wrong, one error is made."""
    seen = []

    def counted(error, value, param):
        seen.append(error.error_count())
        return fault(error, value, param)

    monkeypatch.setattr("service.api.parsing.fault", counted)
    wrong = {f"k{i}": 1 for i in range(count)}
    bodies = [
        {"prompt": "p", "responses": [1] * count},
        {"messages": [1] * min(count, 900), "response": "r"},
        turn([1] * count),
        turn([{"type": "text", "text": "a"} | wrong]),
        {"messages": [{"role": "user", "content": "a"} | wrong], "response": "r"},
        GOOD | {"image": {"ref": "a"} | wrong},
        GOOD | {"images": [1] * min(count, 900)},
        GOOD | {"transform": {"sigmoid": wrong}},
    ]
    async with served() as server:
        for body in bodies:
            error_of(await server.client.post("/score", json=body), 422, "invalid_item")
    assert len(seen) == len(bodies)
    assert set(seen) == {1}
