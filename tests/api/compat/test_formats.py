"""The other formats: LLaMA-Factory's, slime's, vLLM's and the Open Inference Protocol's, each with its own shape."""

import json
import math
import struct

import pytest

from tests.api.serving import error_of, served
from tests.inputs.pictures import data_uri, pixels, png, raster
from tests.models import StandIn, reward, reward_of

pytestmark = pytest.mark.anyio

HEADER = "<|im_start|>assistant\n"
SHOWN = "<|vision_start|><|image_pad|><|vision_end|>"
TEXT = f"<|im_start|>user\nWhat?<|im_end|>\n{HEADER}Red.<|im_end|>\n"
PICTURE = raster(pixels())
PARTS = [{"type": "image", "image": data_uri(png())}, {"type": "text", "text": "What?"}]


async def posted(path, body, **settings):
    async with served(**settings) as server:
        return await server.client.post(path, json=body)


# LLaMA-Factory


async def test_evaluation_answers_scores():
    body = {"model": "model", "messages": [TEXT, TEXT.replace("Red", "Blue")]}
    answer = await posted("/v1/score/evaluation", body)
    assert answer.json() == {
        "id": answer.headers["x-request-id"],
        "object": "score.evaluation",
        "model": "basereward",
        "scores": [reward("What?", "Red."), reward("What?", "Blue.")],
    }


@pytest.mark.parametrize("text", ["Red.", TEXT.replace("What", SHOWN), TEXT + TEXT])
async def test_evaluation_refuses_what_it_cannot_take_apart(text):
    answer = await posted("/v1/score/evaluation", {"messages": [TEXT, text]})
    assert error_of(answer, 422, "invalid_item")["param"] == "messages[1]"


# slime


@pytest.mark.parametrize(
    ("prompt", "response"),
    [
        ("What?", "Red."),
        (TEXT.partition("Red.")[0], "Red.<|im_end|>"),
        ([{"role": "user", "content": "What?"}], "Red.<|im_end|>"),
        (json.dumps([{"role": "user", "content": "What?"}]), "Red."),
    ],
    ids=["plain", "templated", "messages", "json"],
)
async def test_reward_is_a_bare_number(prompt, response):
    body = {"prompt": prompt, "response": response, "label": "red"}
    answer = await posted("/reward", body)
    assert answer.json() == reward("What?", "Red.")


@pytest.mark.parametrize(
    ("prompt", "label", "params"),
    [
        ([{"role": "user", "content": PARTS}], None, ""),
        ("What?", data_uri(png()), "?image_from=label"),
        (
            f"<|im_start|>user\n{SHOWN}What?<|im_end|>\n{HEADER}",
            [data_uri(png())],
            "?image_from=label",
        ),
    ],
    ids=["messages", "plain", "templated"],
)
async def test_reward_with_a_picture(prompt, label, params):
    body = {"prompt": prompt, "response": "Red.", "label": label}
    answer = await posted(f"/reward{params}", body)
    assert answer.json() == reward("What?", "Red.", PICTURE)


async def test_reward_refuses_a_prompt_in_another_template():
    body = {"prompt": "[INST] What? [/INST]", "response": "Red."}
    error_of(await posted("/reward", body), 422, "invalid_item")


# NeMo-Gym


def rollout(given, *output, **params):
    return {
        "responses_create_params": {"input": given} | params,
        "response": {"output": list(output)},
    }


def said(text):
    content = [{"type": "output_text", "text": text, "annotations": []}]
    return {"type": "message", "role": "assistant", "id": "m", "content": content}


LOOK = [
    {"type": "input_image", "image_url": data_uri(png()), "detail": "auto"},
    {"type": "input_text", "text": "What?"},
]


@pytest.mark.parametrize(
    ("body", "turns", "system"),
    [
        (rollout("What?", said("Red.")), ["What?"], None),
        (rollout([{"role": "user", "content": LOOK}], said("Red.")), [PICTURE, "What?"], None),
        (
            rollout([{"role": "user", "content": "What?"}], {"type": "reasoning"}, said("Red.")),
            ["What?"],
            None,
        ),
        (rollout("What?", said("Red."), instructions="Be brief."), ["What?"], "Be brief."),
        (
            rollout(
                [
                    {"role": "developer", "content": "Be brief."},
                    {"role": "user", "content": "What?"},
                ],
                said("Red."),
            ),
            ["What?"],
            "Be brief.",
        ),
    ],
)
async def test_verify_answers_the_rollout_with_its_reward(body, turns, system):
    body |= {
        "answer": "red",
        "responses_create_params": body["responses_create_params"] | {"top_p": 1},
    }
    expected = reward_of([("user", turns)], "Red.", system)
    assert (await posted("/verify", body)).json() == body | {"reward": expected}


@pytest.mark.parametrize(
    "body",
    [
        [],
        {},
        rollout("What?"),
        rollout("What?", said("a"), said("b")),
        rollout("What?", {"type": "function_call"}),
        rollout([{"role": "user", "content": [{"type": "input_audio"}]}], said("Red.")),
        rollout(
            [{"role": "user", "content": [{"type": "input_image", "file_id": "1"}]}], said("a")
        ),
        rollout(None, said("Red.")),
    ],
)
async def test_verify_refuses_what_it_cannot_judge(body):
    error_of(await posted("/verify", body), 422, "invalid_item")


async def test_a_session_needs_nothing():
    assert (await posted("/seed_session", {})).json() == {}


async def test_a_collection_ends_in_statistics_of_its_rewards():
    rewards = {4: [1.5, -0.5], 2: [2]}
    rollouts = [
        {"_ng_task_index": t, "reward": r, "n": 7} for t, row in rewards.items() for r in row
    ]
    answer = (await posted("/aggregate_metrics", {"verify_responses": rollouts})).json()
    two, four = answer["group_level_metrics"]
    assert (two["_ng_task_index"], two["mean/reward"], two["std/reward"]) == (2, 2.0, 0.0)
    assert four == {
        "_ng_task_index": 4,
        "mean/reward": 0.5,
        "max/reward": 1.5,
        "min/reward": -0.5,
        "median/reward": 0.5,
        "std/reward": pytest.approx(2**0.5),
    }
    whole = answer["agent_metrics"]
    assert (whole["mean/reward"], whole["median/reward"]) == (1.0, 1.5)
    assert whole["std/reward"] == pytest.approx((3.5 / 2) ** 0.5)
    assert answer["key_metrics"] == {"mean/reward": 1.0}


async def test_a_collection_of_nothing():
    answer = (await posted("/aggregate_metrics", {"verify_responses": []})).json()
    assert answer == {"group_level_metrics": [], "agent_metrics": {}, "key_metrics": {}}


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ([], "verify_responses"),
        ({"verify_responses": {}}, "verify_responses"),
        ({"verify_responses": [{"reward": 1.0}, {"reward": None}]}, "verify_responses[1]"),
        ({"verify_responses": [{"reward": True}]}, "verify_responses[0]"),
        ({"verify_responses": [{"reward": 1.0, "_ng_task_index": "1"}]}, "verify_responses[0]"),
        ({"verify_responses": [7]}, "verify_responses[0]"),
    ],
)
async def test_a_collection_without_rewards_is_refused(body, param):
    assert error_of(await posted("/aggregate_metrics", body), 422, "invalid_item")["param"] == param


# vLLM


@pytest.mark.parametrize("given", [TEXT, [TEXT]])
async def test_classify_answers_as_vllm(given):
    body = {"model": "basereward", "input": given, "use_activation": False}
    answer = (await posted("/classify", body)).json()
    assert answer["object"] == "list"
    assert answer["model"] == "basereward"
    expected = {
        "index": 0,
        "label": "LABEL_0",
        "probs": [reward("What?", "Red.")],
        "num_classes": 1,
    }
    assert answer["data"] == [expected]
    assert answer["usage"]["prompt_tokens"] == answer["usage"]["total_tokens"] > 0


async def test_classify_takes_messages_with_pictures():
    messages = [{"role": "user", "content": PARTS}, {"role": "assistant", "content": "Red."}]
    answer = await posted("/classify", {"messages": messages, "use_activation": False})
    assert answer.json()["data"][0]["probs"] == [reward("What?", "Red.", PICTURE)]


@pytest.mark.parametrize("given", [{}, {"use_activation": True}, {"use_activation": None}])
async def test_classify_activates_unless_told_not_to(given):
    answer = await posted("/classify", {"input": [TEXT, TEXT]} | given)
    expected = 1 / (1 + math.exp(-reward("What?", "Red.")))
    probs = [entry["probs"][0] for entry in answer.json()["data"]]
    assert probs == pytest.approx([expected] * 2, rel=1e-12)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"model": "other", "input": TEXT}, 404, "unknown_model"),
        ({"input": "What? Red."}, 422, "invalid_item"),
        ({"input": TEXT, "messages": []}, 422, "invalid_item"),
        ({}, 422, "invalid_item"),
        ({"input": TEXT, "truncate_prompt_tokens": 5}, 422, "invalid_item"),
        ({"messages": [{"role": "user", "content": "What?"}]}, 422, "invalid_item"),
    ],
)
async def test_classify_refuses(body, status, code):
    error_of(await posted("/classify", body), status, code)


# The Open Inference Protocol

ITEMS = [
    {"prompt": "What?", "response": "Red."},
    {"messages": [{"role": "user", "content": PARTS}], "response": "Blue."},
]
REWARDS = [reward("What?", "Red."), reward_of([("user", [PICTURE, "What?"])], "Blue.")]
INFER = "/v2/models/basereward/infer"


def tensor(data, shape=None, **more):
    return {"name": "item", "datatype": "BYTES", "shape": shape or [len(data)], "data": data} | more


@pytest.mark.parametrize("shape", [[2], [2, 1], [1, 2]])
async def test_infer_answers_a_tensor_of_the_same_shape(shape):
    data = [json.dumps(item) for item in ITEMS]
    answer = await posted(INFER, {"id": "7", "inputs": [tensor(data, shape)]})
    output = {"name": "reward", "datatype": "FP32", "shape": shape, "data": REWARDS}
    body = answer.json()
    assert (body["id"], body["model_name"], body["outputs"]) == ("7", "basereward", [output])
    assert body["model_version"] == answer.headers["x-model-fingerprint"]


def binary(items) -> tuple[bytes, dict[str, str]]:
    """As tritonclient sends it: JSON, then each element behind its length."""
    elements = [json.dumps(item).encode() for item in items]
    raw = b"".join(struct.pack("<I", len(e)) + e for e in elements)
    head = tensor([], [len(items)], parameters={"binary_data_size": len(raw)})
    del head["data"]
    text = json.dumps({"inputs": [head]}).encode()
    headers = {
        "content-type": "application/octet-stream",
        "inference-header-content-length": str(len(text)),
    }
    return text + raw, headers


async def test_infer_takes_triton_s_binary_input():
    body, headers = binary(ITEMS)
    async with served() as server:
        answer = await server.client.post(INFER, content=body, headers=headers)
        assert answer.json()["outputs"][0]["data"] == REWARDS
        for wrong in (body[:-1], body + b"\0", body.replace(b"What?", b"Wha\xff?")):
            answer = await server.client.post(INFER, content=wrong, headers=headers)
            error_of(answer, 422, "invalid_item")
        headers["inference-header-content-length"] = "9999999"
        error_of(
            await server.client.post(INFER, content=body, headers=headers), 422, "invalid_item"
        )


@pytest.mark.parametrize(
    ("inputs", "status", "code"),
    [
        ([], 422, "invalid_item"),
        ([tensor(["{}"]), tensor(["{}"])], 422, "invalid_item"),
        ([tensor(["{}"], [2])], 422, "invalid_item"),
        ([tensor([1])], 422, "invalid_item"),
        ([tensor(["{}"], datatype="FP32")], 422, "invalid_item"),
        ([tensor(["no json"])], 400, "malformed_json"),
        ([tensor(["[]"])], 422, "invalid_item"),
        ([tensor(['{"prompt": "p", "responses": ["a", "b"]}'])], 422, "invalid_item"),
    ],
)
async def test_infer_refuses(inputs, status, code):
    error_of(await posted(INFER, {"inputs": inputs}), status, code)


async def test_infer_knows_one_model_and_one_output():
    body = {"inputs": [tensor(['{"prompt": "What?", "response": "Red."}'])]}
    error_of(await posted("/v2/models/other/infer", body), 404, "unknown_model")
    error_of(await posted(INFER, body | {"outputs": [{"name": "score"}]}), 422, "invalid_item")
    answer = await posted(INFER, body | {"outputs": [{"name": "reward"}]})
    assert answer.json()["outputs"][0]["data"] == [reward("What?", "Red.")]


async def test_the_protocol_s_questions_are_answered():
    async with served() as server:
        get = server.client.get
        assert (await get("/v2/health/live")).json() == {"live": True}
        assert (await get("/v2/health/ready")).json() == {"ready": True}
        assert (await get("/v2/models/basereward/ready")).json() == {"ready": True}
        metadata = (await get("/v2/models/basereward")).json()
        assert metadata["name"] == "basereward"
        assert [x["datatype"] for x in metadata["inputs"] + metadata["outputs"]] == [
            "BYTES",
            "FP32",
        ]
        error_of(await get("/v2/models/other"), 404, "unknown_model")
        server.app.state.engine.health.draining = True
        answer = await get("/v2/health/ready")
        assert (answer.status_code, answer.json()) == (503, {"ready": False})


async def test_routes_are_counted_by_their_declared_path():
    async with served(StandIn(name="mine")) as server:
        body = {"inputs": [tensor(['{"prompt": "What?", "response": "Red."}'])]}
        await server.client.post("/v2/models/mine/infer", json=body)
        route = 'basereward_requests_total{route="/v2/models/{name}/infer",status="ok"}'
        assert await server.metric(route) == 1
