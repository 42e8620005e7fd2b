"""What trainers' routes cannot understand is the caller's fault, said as such, and never `internal`."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.api.serving import error_of, served

pytestmark = pytest.mark.anyio

INFER = "/v2/models/basereward/infer"
ODD = [None, True, 5, -1, 1.5, "", "a", [], [[]], [None], {}, {"a": 1}, [{}], [{"role": "user"}]]


def rollout(given, output):
    return {"responses_create_params": {"input": given}, "response": {"output": output}}


def said(content):
    return [{"type": "message", "role": "assistant", "content": content}]


def rewards(odd):
    user = {"role": "user", "content": odd}
    yield "/reward", {"prompt": odd, "response": "x"}
    yield "/reward", {"prompt": [odd], "response": "x"}
    yield "/reward", {"prompt": [{"role": odd, "content": "a"}], "response": "x"}
    yield "/reward", {"prompt": [user], "response": "x"}
    yield "/reward", {"prompt": [user | {"content": [odd]}], "response": "x"}
    yield "/reward", {"prompt": [user | {"content": [{"type": odd}]}], "response": "x"}
    yield (
        "/reward",
        {"prompt": [user | {"content": [{"type": "text", "text": odd}]}], "response": "x"},
    )
    yield (
        "/reward",
        {"prompt": [user | {"content": [{"type": "image", "image": odd}]}], "response": "x"},
    )
    yield "/reward", {"prompt": "a", "response": odd}
    yield "/reward?image_from=label", {"prompt": "a", "response": "x", "label": odd}
    yield "/reward?image_from=label", {"prompt": [], "response": "x", "label": [odd]}


def queries(odd):
    user = {"role": "user", "content": odd}
    yield "/get_reward", {"query": odd, "prompts": odd}
    yield "/get_reward", {"query": ["a"], "prompts": [json.dumps([odd])]}
    yield "/get_reward", {"query": ["a"], "prompts": [json.dumps([user])]}
    yield "/get_reward?image_from=labels", {"query": ["a"], "labels": [odd]}
    yield "/get_reward?image_from=labels", {"query": ["a"], "labels": [json.dumps({"image": odd})]}
    yield "/classify", {"input": odd}
    yield "/classify", {"messages": odd}
    yield "/classify", {"messages": [user, odd]}
    yield "/v1/score/evaluation", {"messages": odd}


def rollouts(odd):
    user = {"role": "user", "content": odd}
    yield "/verify", odd
    yield "/verify", rollout(odd, said("a"))
    yield "/verify", rollout([odd], said("a"))
    yield "/verify", rollout([{"role": odd, "content": "a"}], said("a"))
    yield "/verify", rollout([user], said("a"))
    yield "/verify", rollout([user | {"content": [odd]}], said("a"))
    yield "/verify", rollout([user | {"content": [{"type": odd, "text": "a"}]}], said("a"))
    yield "/verify", rollout([user | {"content": [{"type": "text", "text": odd}]}], said("a"))
    yield "/verify", rollout("a", odd)
    yield "/verify", rollout("a", [odd])
    yield "/verify", rollout("a", [{"type": odd, "content": "a"}])
    yield "/verify", rollout("a", said(odd))
    yield "/verify", rollout("a", said([odd]))
    yield "/verify", rollout("a", said([{"type": "output_text", "text": odd}]))
    yield (
        "/verify",
        {"responses_create_params": {"input": "a", "instructions": odd}}
        | {"response": {"output": said("a")}},
    )


def tensors(odd):
    yield INFER, {"inputs": odd}
    yield INFER, {"inputs": [odd]}
    for key in ("name", "shape", "datatype", "data", "parameters"):
        yield (
            INFER,
            {
                "inputs": [
                    {"name": "i", "shape": [1], "datatype": "BYTES", "data": ["{}"]} | {key: odd}
                ]
            },
        )
    yield (
        INFER,
        {"inputs": [{"name": "i", "shape": [1], "datatype": "BYTES", "data": [json.dumps(odd)]}]},
    )
    yield "/aggregate_metrics", {"verify_responses": odd}
    yield "/aggregate_metrics", {"verify_responses": [odd]}
    yield "/aggregate_metrics", {"verify_responses": [{"reward": odd}]}
    yield "/aggregate_metrics", {"verify_responses": [{"reward": 1.0, "_ng_task_index": odd}]}


def with_odd(odd):
    """Bodies of each route with something odd where a turn, a part, a text or a number is expected."""
    return [*rewards(odd), *queries(odd), *rollouts(odd), *tensors(odd)]


@pytest.mark.parametrize("odd", ODD, ids=repr)
async def test_odd_values_are_refused_or_scored(odd):
    async with served() as server:
        for path, body in with_odd(odd):
            headers = {"content-type": "application/json"}
            answer = await server.client.post(path, content=json.dumps(body), headers=headers)
            assert answer.status_code in (200, 422), (path, body, answer.text)
            if answer.status_code == 422:
                assert answer.json()["error"]["message"]


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["role", "content", "type", "text", "image", "output"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)


@given(odd=JSON)
@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
async def test_anything_is_refused_or_scored(odd):
    async with served() as server:
        for path, body in with_odd(odd):
            try:
                content = json.dumps(body, ensure_ascii=False).encode()
            except UnicodeEncodeError:
                continue
            headers = {"content-type": "application/json"}
            answer = await server.client.post(path, content=content, headers=headers)
            assert answer.status_code in (200, 400, 422), (path, body, answer.text)


@pytest.mark.parametrize("length", ["1" * 5000, "-1", "1.0", "²", "999999999999999", "", " 5"])
async def test_a_header_that_is_no_length_is_refused(length):
    body = {"inputs": [{"name": "i", "shape": [1], "datatype": "BYTES", "data": ["{}"]}]}
    headers = [(b"inference-header-content-length", length.encode("utf-8"))]
    async with served() as server:
        answer = await server.client.post(INFER, json=body, headers=headers)
        error_of(answer, 422, "invalid_item")


@pytest.mark.parametrize("reward", [1e300, -1e300, 1e200, 5e-324, 0.0])
async def test_statistics_are_finite_for_any_reward_that_is_taken(reward):
    rollouts = [{"reward": reward}, {"reward": -reward}, {"reward": reward}]
    async with served() as server:
        answer = await server.client.post("/aggregate_metrics", json={"verify_responses": rollouts})
        whole = answer.json()["agent_metrics"]
        assert whole["mean/reward"] == pytest.approx(reward / 3, rel=1e-12)
        assert whole["std/reward"] == pytest.approx(
            abs(reward) * (4 / 3) ** 0.5, rel=1e-12, abs=1e-323
        )
        for beyond in (1.7e308, -1.7e308, 1.1e300):
            body = {"verify_responses": [{"reward": beyond}]}
            answer = await server.client.post("/aggregate_metrics", json=body)
            error_of(answer, 422, "invalid_item")
