"""Items as OpenAI chat turns: roles, system turns, picture parts, and what does not fit together."""

import pytest

from tests.api.serving import served
from tests.inputs.pictures import data_uri, pixels, png, raster
from tests.models import reward_of

pytestmark = pytest.mark.anyio

CAT = raster(pixels(seed=2))
CAT_URI = data_uri(png(seed=2))


def turn(role, content):
    return {"role": role, "content": content}


ASK, ANSWER = turn("user", "Why?"), turn("assistant", "Because.")


async def test_a_last_assistant_turn_is_the_response():
    async with served() as server:
        answer = await server.score({"messages": [ASK, ANSWER]})
    assert answer["reward"] == reward_of([("user", ["Why?"])], "Because.")


async def test_an_empty_last_assistant_turn_scores():
    async with served() as server:
        answer = await server.score({"messages": [ASK, turn("assistant", "")]})
    assert answer["reward"] == reward_of([("user", ["Why?"])], "")


async def test_a_last_user_turn_takes_responses():
    messages = [ASK, ANSWER, turn("user", "Sure?")]
    context = [("user", ["Why?"]), ("assistant", ["Because."]), ("user", ["Sure?"])]
    async with served() as server:
        answer = await server.score({"items": [{"messages": messages, "responses": ["a", "b"]}]})
    assert answer["rewards"] == [[reward_of(context, "a"), reward_of(context, "b")]]


async def test_text_parts_of_the_response_turn_are_joined():
    parts = [{"type": "text", "text": "Be"}, {"type": "text", "text": "cause."}]
    async with served() as server:
        answer = await server.score({"messages": [ASK, turn("assistant", parts)]})
    assert answer["reward"] == reward_of([("user", ["Why?"])], "Because.")


@pytest.mark.parametrize(
    "part",
    [
        pytest.param({"type": "image_url", "image_url": {"url": CAT_URI}}, id="url"),
        pytest.param(
            {"type": "image_url", "image_url": {"url": CAT_URI, "detail": "high"}}, id="detail"
        ),
        pytest.param({"type": "image_url", "image_url": CAT_URI}, id="url-as-string"),
        pytest.param({"type": "image_url", "image_url": {"url": "ref:cat"}}, id="ref-url"),
        pytest.param({"type": "image_url", "image_url": "ref:cat"}, id="ref-url-as-string"),
        pytest.param({"type": "image", "image": CAT_URI}, id="image"),
        pytest.param({"type": "image", "image": {"ref": "cat"}}, id="image-ref"),
        pytest.param({"type": "image", "image": CAT_URI.partition(",")[2]}, id="bare-base64"),
    ],
)
async def test_picture_parts_stand_where_they_are(part):
    content = [{"type": "text", "text": "before"}, part, {"type": "text", "text": "after"}]
    body = {"messages": [turn("user", content), ANSWER], "image_table": {"cat": CAT_URI}}
    async with served() as server:
        answer = await server.score(body)
    assert answer["reward"] == reward_of([("user", ["before", CAT, "after"])], "Because.")


async def test_a_picture_alone_is_a_context():
    part = {"type": "image", "image": CAT_URI}
    async with served() as server:
        answer = await server.score({"messages": [turn("user", [part]), ANSWER]})
    assert answer["reward"] == reward_of([("user", [CAT])], "Because.")


SYSTEM_TURN = turn("system", "Be strict.")


@pytest.mark.parametrize(
    ("body", "system"),
    [
        pytest.param({"prompt": "Why?", "response": "x"}, None, id="prompt-absent"),
        pytest.param({"prompt": "Why?", "response": "x", "system": ""}, "", id="prompt-empty"),
        pytest.param({"prompt": "Why?", "response": "x", "system": "Be."}, "Be.", id="prompt-text"),
        pytest.param({"messages": [ASK], "response": "x"}, None, id="messages-absent"),
        pytest.param({"messages": [ASK], "response": "x", "system": ""}, "", id="messages-empty"),
        pytest.param(
            {"messages": [ASK], "response": "x", "system": "Be."}, "Be.", id="messages-text"
        ),
        pytest.param({"messages": [SYSTEM_TURN, ASK], "response": "x"}, "Be strict.", id="turn"),
        pytest.param({"messages": [turn("system", ""), ASK], "response": "x"}, "", id="empty-turn"),
    ],
)
async def test_system_is_the_manifests_none_or_the_text(body, system):
    async with served() as server:
        answer = await server.score(body)
    assert answer["reward"] == reward_of([("user", ["Why?"])], "x", system)


IMAGE_PART = {"type": "image", "image": CAT_URI}


@pytest.mark.parametrize(
    "item",
    [
        pytest.param({"messages": [SYSTEM_TURN, ASK, ANSWER], "system": "a"}, id="system-twice"),
        pytest.param({"messages": [SYSTEM_TURN, ASK, ANSWER], "system": ""}, id="system-and-empty"),
        pytest.param({"messages": [ASK, SYSTEM_TURN, ASK, ANSWER]}, id="system-in-the-middle"),
        pytest.param({"messages": [SYSTEM_TURN, SYSTEM_TURN, ASK, ANSWER]}, id="two-system-turns"),
        pytest.param({"messages": [turn("tool", "x"), ASK, ANSWER]}, id="role-tool"),
        pytest.param({"messages": [turn("User", "x"), ANSWER]}, id="role-case"),
        pytest.param({"messages": [{"content": "x"}, ANSWER]}, id="no-role"),
        pytest.param({"messages": [{"role": "user"}, ANSWER]}, id="no-content"),
        pytest.param({"messages": [ASK, ANSWER], "response": "x"}, id="response-twice"),
        pytest.param({"messages": [ASK, ANSWER], "responses": ["x"]}, id="responses-too"),
        pytest.param({"messages": [ASK]}, id="no-response"),
        pytest.param({"messages": [ANSWER]}, id="only-a-response"),
        pytest.param({"messages": [SYSTEM_TURN, ANSWER]}, id="no-user-turn"),
        pytest.param({"messages": []}, id="no-messages"),
        pytest.param({"messages": [turn("user", ""), ANSWER]}, id="empty-context"),
        pytest.param({"messages": [turn("user", []), ANSWER]}, id="empty-parts"),
        pytest.param({"messages": [ASK, ANSWER], "prompt": "x"}, id="prompt-too"),
        pytest.param({"messages": [ASK, ANSWER], "image": CAT_URI}, id="image-beside"),
        pytest.param({"messages": [ASK, ANSWER], "images": [CAT_URI]}, id="images-beside"),
        pytest.param({"messages": [ASK, turn("assistant", [IMAGE_PART])]}, id="picture-answer"),
        pytest.param({"messages": [turn("user", [{"type": "audio"}]), ANSWER]}, id="audio-part"),
        pytest.param({"messages": [turn("user", [{"text": "x"}]), ANSWER]}, id="untyped-part"),
        pytest.param({"messages": "Why?"}, id="messages-text"),
    ],
)
async def test_messages_that_do_not_fit_are_invalid_items(item):
    good = {"messages": [ASK, ANSWER]}
    async with served() as server:
        error = await server.refused({"items": [good, item]}, 422, "invalid_item")
    assert error["param"].startswith("items[1]")
    assert error["message"].startswith("items[1]")
    assert [entry["index"] for entry in error["items"]] == [1]
