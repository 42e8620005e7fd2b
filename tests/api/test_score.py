"""`POST /score` for good requests: order, groups, forms, ids, pictures and their places."""

import pytest

from tests.api.serving import GOOD, served
from tests.inputs.pictures import data_uri, pixels, png, raster
from tests.models import PICTURE_TOKENS, StandIn, reward, reward_of

pytestmark = pytest.mark.anyio

STREET, CAT = raster(pixels(seed=1)), raster(pixels(seed=2))
STREET_URI, CAT_URI = data_uri(png(seed=1)), data_uri(png(seed=2))
TABLE = {"street": STREET_URI, "cat": CAT_URI}


@pytest.mark.parametrize("path", ["/score", "/v1/score"])
async def test_short_form_answers_reward_beside_rewards(path):
    async with served() as server:
        answer = (await server.client.post(path, json=GOOD)).json()
    assert answer["reward"] == reward(**GOOD)
    assert answer["rewards"] == [reward(**GOOD)]


async def test_items_form_has_no_reward_key():
    async with served() as server:
        assert "reward" not in await server.score({"items": [GOOD]})


async def test_short_form_takes_options_beside_the_item():
    body = {
        "prompt": "What is it?",
        "image": {"ref": "cat"},
        "response": "A cat.",
        "id": "q1",
        "image_table": TABLE,
        "model": "basereward",
        "transform": "none",
        "on_error": "null",
        "truncate": "never",
        "timeout_s": 60,
    }
    async with served() as server:
        answer = await server.score(body)
    assert answer["reward"] == reward("What is it?", "A cat.", CAT)
    assert answer["ids"] == ["q1"]


async def test_order_is_kept_with_thousands_of_items():
    items = [{"prompt": f"p{i}" * (i % 7 + 1), "response": f"r{i}" * (i % 90)} for i in range(4000)]
    async with served(max_batch_responses=64, max_batch_tokens=600) as server:
        answer = await server.score({"items": items})
        assert len(server.model.steps) > 10
    assert answer["rewards"] == [reward(**item) for item in items]


async def test_rewards_mirror_items_and_lists_stay_lists():
    items = [
        {"prompt": "a", "response": "1"},
        {"prompt": "b", "responses": ["1", "2", "1"]},
        {"prompt": "c", "responses": ["only"]},
        {"prompt": "d", "response": ""},
    ]
    async with served() as server:
        answer = await server.score({"items": items})
    assert answer["rewards"] == [
        reward("a", "1"),
        [reward("b", "1"), reward("b", "2"), reward("b", "1")],
        [reward("c", "only")],
        reward("d", ""),
    ]
    assert answer["errors"] == []
    assert answer["warnings"] == []


async def test_short_form_with_responses_answers_a_list_in_rewards():
    async with served() as server:
        answer = await server.score({"prompt": "b", "responses": ["1", "2"]})
    assert answer["rewards"] == [[reward("b", "1"), reward("b", "2")]]


async def test_ids_are_echoed_once_any_item_has_one():
    items = [GOOD, GOOD | {"id": "q17"}, GOOD]
    async with served() as server:
        answer = await server.score({"items": items})
        without = await server.score({"items": [GOOD]})
    assert answer["ids"] == [None, "q17", None]
    assert "ids" not in without


NULLS = dict.fromkeys(
    ["messages", "responses", "image", "images", "image_tag", "system", "id", "image_table"]
)
OPTION_NULLS = dict.fromkeys(["model", "transform", "on_error", "truncate", "timeout_s"])


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(GOOD | NULLS | OPTION_NULLS | {"items": None}, id="short-form"),
        pytest.param(
            {"items": [{k: v for k, v in (NULLS | GOOD).items() if k != "image_table"}]}
            | OPTION_NULLS
            | {"image_table": None, "prompt": None},
            id="items",
        ),
        pytest.param(GOOD | {"priority": None}, id="reserved"),
    ],
)
async def test_null_valued_keys_count_as_absent(body):
    async with served() as server:
        assert (await server.score(body))["rewards"] == [reward(**GOOD)]


@pytest.mark.parametrize(
    "part",
    [
        pytest.param(
            {"type": "text", "text": "Is all well?", "image": None, "image_url": None}, id="text"
        ),
        pytest.param(
            {"type": "image", "image": CAT_URI, "text": None, "image_url": None}, id="image"
        ),
        pytest.param(
            {"type": "image_url", "image_url": {"url": CAT_URI, "detail": None}, "text": None},
            id="image-url",
        ),
        pytest.param({"type": "image", "image": {"ref": "cat", "sha256": None}}, id="ref"),
    ],
)
async def test_null_valued_keys_of_chat_parts_count_as_absent(part):
    """Tables that hold parts of several kinds fill the other kinds' keys with null."""
    body = {
        "messages": [{"role": "user", "content": [part], "name": None}],
        "response": "Yes.",
        "image_table": TABLE,
    }
    async with served() as server:
        answer = await server.score(body)
    expected = "Is all well?" if part["type"] == "text" else CAT
    assert answer["reward"] == reward_of([("user", [expected])], "Yes.")


async def test_text_only_items_are_normal():
    async with served() as server:
        answer = await server.score({"items": [GOOD, GOOD | {"image": CAT_URI}]})
    assert answer["rewards"] == [reward(**GOOD), reward("Is all well?", "Yes.", CAT)]


async def test_usage_and_timing():
    items = [{"prompt": "abcd", "responses": ["efgh", ""]}, GOOD | {"image": CAT_URI}]
    async with served() as server:
        answer = await server.score({"items": items})
    text = (4 + 4) // 4 + 1 + 4 // 4 + 1 + (len(GOOD["prompt"]) + len("Yes.")) // 4 + 1
    assert answer["usage"] == {
        "items": 2,
        "responses": 3,
        "text_tokens": text,
        "image_tokens": PICTURE_TOKENS,
        "shared_tokens": 0,
    }
    timing = answer["timing_ms"]
    assert set(timing) == {"total", "prepare", "queue", "forward"}
    assert all(value >= 0 for value in timing.values())
    assert timing["total"] >= max(timing["prepare"], timing["queue"], timing["forward"])


async def test_warnings_name_item_and_response():
    model = StandIn()
    model.noted["strange"] = "control_text"
    async with served(model) as server:
        body = {"items": [GOOD, {"prompt": "p", "responses": ["fine", "strange"]}]}
        answer = await server.score(body)
    assert answer["warnings"] == [
        {"index": 1, "response": 1, "code": "control_text", "message": "noted"}
    ]


@pytest.mark.parametrize("truncate", ["never", "prompt"])
async def test_truncate_is_the_models_to_obey(truncate):
    async with served() as server:
        await server.score(GOOD | {"truncate": truncate})
        assert [item.truncate_prompt for item in server.model.items] == [truncate == "prompt"]
