"""Calls against the real application: what is asked of it, and what its refusals and partial answers become."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from basereward_client import (
    BadRequest,
    DeadlineExceeded,
    FingerprintChanged,
    RewardClient,
    RewardError,
    ServerFailure,
    Timing,
    request,
)
from tests.client.fault_proxy import Exchange, clear, edit_json, proxied
from tests.client.serving import (
    BOTH,
    CAT_PNG,
    EITHER,
    STREET,
    STREET_PNG,
    Live,
    live,
    score,
    singles,
)
from tests.models import StandIn, reward, reward_of

WITH_UNKNOWN_KEY = {
    "role": "user",
    "content": [{"type": "image", "image": STREET_PNG, "min_pixels": 4}],
}


@pytest.fixture(scope="module")
def server() -> Iterator[Live]:
    model = StandIn()
    model.answers["nan"] = float("nan")
    model.broken.add("broken")
    model.noted["noted"] = "strange"
    with live(model) as one:
        yield one


@BOTH
def test_what_is_known_of_the_rewards(server: Live, kind: str) -> None:
    items = [*singles("a", "noted"), {"prompt": "g", "responses": ["x", "noted", "y"]}]
    rewards = score(kind, items, server.url)
    assert rewards.errors == []
    assert [(w.index, w.response, w.code) for w in rewards.warnings] == [
        (1, 0, "strange"),
        (2, 1, "strange"),
    ]
    info = server.model.info
    assert (rewards.fingerprint, rewards.numerics) == (info.fingerprint, info.numerics)
    assert (rewards.usage["items"], rewards.usage["responses"]) == (3, 5)
    assert rewards.timing.total_s >= rewards.timing.forward_s > 0


def test_usage_warnings_and_places_are_those_of_the_whole_call(
    server: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request, "LIMITS", (2, 2**20, 9))
    items = singles("a", "noted", "b", "c", "d", "noted", "e")
    with RewardClient(server.url) as client:
        rewards = client.score(items)
    assert rewards == [reward(**item) for item in items]
    assert rewards.usage["responses"] == 7
    assert [w.index for w in rewards.warnings] == [1, 5]


@BOTH
def test_a_bad_item_is_named_by_the_callers_own_number(
    server: Live, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(request, "LIMITS", (2, 2**20, 9))
    items: list[dict[str, Any]] = [*singles(*"abcdefgh"), {"prompt": "", "response": "x"}]
    with pytest.raises(BadRequest) as caught:
        score(kind, items, server.url)
    error = caught.value
    assert (error.code, error.param) == ("invalid_item", "items[8].prompt")
    assert "items[8].prompt" in str(error)
    assert [e.index for e in error.items] == [8]
    assert error.request_id


@BOTH
def test_bad_rows_are_none_if_so_wanted(server: Live, kind: str) -> None:
    items = [
        *singles("a", "nan", "b"),
        {"prompt": "g", "responses": ["x", "nan", "y"]},
        {"prompt": "p", "response": "r", "image": b"no picture"},
        {"prompt": "p", "response": "r", "unheard": 1},
        {"prompt": "p", "responses": ["q", "r"], "unheard": 2},
        {"prompt": "p", "response": "\ud800"},
        {"prompt": "p", "responses": []},
        {"prompt": "p", "responses": "text"},
        "no mapping",
    ]
    rewards = score(kind, items, server.url, on_error="none")
    a, b = reward("p0", "a"), reward("p2", "b")
    group = [reward("g", "x"), None, reward("g", "y")]
    assert rewards == [a, None, b, group, None, None, [None, None], None, [], None, None]
    assert [(e.index, e.response, e.code) for e in rewards.errors] == [
        (1, 0, "non_finite_reward"),
        (3, 1, "non_finite_reward"),
        (4, 0, "image_decode"),
        (5, 0, "invalid_item"),
        (6, 0, "invalid_item"),
        (6, 1, "invalid_item"),
        (7, 0, "invalid_item"),
        (8, 0, "invalid_item"),
        (9, 0, "invalid_item"),
        (10, 0, "invalid_item"),
    ]


@BOTH
@pytest.mark.parametrize(
    ("bad", "kind_of_error", "code"),
    [
        ({"prompt": "p", "response": "nan"}, ServerFailure, "non_finite_reward"),
        ({"prompt": "p", "response": "broken"}, ServerFailure, "model_failure"),
        ({"prompt": "p", "response": "r", "image": b"none"}, BadRequest, "image_decode"),
        ({"prompt": "p", "response": "r", "unheard": 1}, BadRequest, "invalid_item"),
        ({"prompt": "p", "response": "\ud800"}, BadRequest, "invalid_item"),
        ({"prompt": "p", "response": float("nan")}, BadRequest, "invalid_item"),
        ({"prompt": "p", "response": object()}, BadRequest, "invalid_item"),
        ({"prompt": "p", "responses": []}, BadRequest, "invalid_item"),
        ({"messages": [{"role": "user"}]}, BadRequest, "invalid_item"),
        ({"messages": [WITH_UNKNOWN_KEY], "response": "r"}, BadRequest, "invalid_item"),
        ("no mapping", BadRequest, "invalid_item"),
    ],
)
def test_one_bad_row_raises(
    server: Live, kind: str, bad: Any, kind_of_error: type[RewardError], code: str
) -> None:
    with pytest.raises(kind_of_error) as caught:
        score(kind, [*singles("a"), bad], server.url)
    assert caught.value.code == code
    assert [e.index for e in caught.value.items] in ([1], [])


@BOTH
@EITHER
@pytest.mark.parametrize(
    ("settings", "error", "code"),
    [
        ({"model": "another"}, BadRequest, "unknown_model"),
        ({"transform": {"sigmoid": {"temperature": -1}}}, BadRequest, "invalid_item"),
        ({"truncate": "response"}, BadRequest, "invalid_item"),
    ],
)
def test_a_fault_of_the_request_raises_in_any_case(
    server: Live,
    kind: str,
    on_error: str,
    settings: dict[str, Any],
    error: type[RewardError],
    code: str,
) -> None:
    with pytest.raises(error) as caught:
        score(kind, singles("a"), server.url, on_error=on_error, **settings)
    assert caught.value.code == code


def test_stages_are_those_of_the_slowest_chunk(
    server: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request, "LIMITS", (1, 2**20, 100))
    told = [
        {"total": 60.0, "prepare": prepare, "queue": 20.0, "forward": 30.0} for prepare in (10, 5)
    ]
    faults = [edit_json(lambda body, own=own: body.update(timing_ms=own)) for own in told]
    with proxied(server.portal, [server.port], faults) as proxy:
        timing = score("sync", singles("a", "b"), proxy.url, max_connections=1).timing
    assert timing == Timing(timing.total_s, 0.01, 0.02, 0.03)


def test_options_are_sent(server: Live) -> None:
    with RewardClient(server.url, transform="sigmoid", model="basereward") as client:
        (got,) = client.score(singles("a"))
    assert 0 < got < 1
    with RewardClient(server.url, transform={"sigmoid": {"temperature": 2, "offset": 1}}) as client:
        assert client.score(singles("a")) != [got]


def test_chats(server: Live) -> None:
    text = {"type": "text", "text": "p", "image": None}
    question = {"role": "user", "content": [{"type": "image", "image": STREET_PNG}, text]}
    expected = [reward_of([("user", [STREET, "p"])], r) for r in "ab"]
    with RewardClient(server.url) as client:
        assert client.score_group([question], ["a", "b"]) == expected
        assert client.score_group("p", ["a", "b"], [STREET_PNG]) == expected
        assert client.score_group("p", iter(["a"]), image=STREET_PNG, id="q") == expected[:1]


@BOTH
def test_a_deadline_with_none_keeps_what_was_scored(
    monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """The server answers its part just before the client's own deadline."""
    monkeypatch.setattr(request, "LIMITS", (1, 2**20, 100))  # a chunk each, one after the other
    with live() as slow:

        async def stuck(exchange: Exchange) -> None:
            slow.model.hold()
            await clear(exchange)

        with proxied(slow.portal, [slow.port], [clear, stuck]) as proxy:
            settings = {"timeout": 1.0, "on_error": "none", "max_connections": 1}
            rewards = score(kind, singles("b", "c"), proxy.url, **settings)
        assert rewards == [reward("p0", "b"), None]
        assert [(e.index, e.code) for e in rewards.errors] == [(1, "deadline_exceeded")]
        assert rewards.fingerprint == slow.model.info.fingerprint  # its answer, not our silence


def test_the_deadline_holds_while_pictures_are_encoded(server: Live) -> None:
    def endless() -> Iterator[dict[str, Any]]:
        i = 0
        while True:
            i += 1
            yield {"prompt": f"p{i}", "response": "r", "image": CAT_PNG}

    with RewardClient(server.url, timeout=0.3) as client, pytest.raises(DeadlineExceeded):
        client.score(endless())


@pytest.mark.parametrize("responses", ["It is red.", b"It is red."])
def test_one_text_is_no_list_of_responses(server: Live, responses: Any) -> None:
    """Ten letters were ten responses, and ten numbers came back."""
    with (
        RewardClient(server.url) as client,
        pytest.raises(BadRequest, match="give a list") as caught,
    ):
        client.score_group("p", responses)
    assert caught.value.param == "responses"


@pytest.mark.parametrize("images", ["a.png", Path("a.png"), b"x", {"bytes": b"x"}, 5])
def test_one_picture_is_no_list_of_pictures(server: Live, images: Any) -> None:
    with RewardClient(server.url) as client, pytest.raises(BadRequest, match="give a list"):
        client.score_group("p", ["r"], images)


def test_no_pictures_at_all(server: Live) -> None:
    with RewardClient(server.url) as client:
        assert client.score_group("p", ["r"], None) == [reward("p", "r")]


def test_a_changed_fingerprint_names_both(server: Live) -> None:
    served = server.model.info.fingerprint
    pinned = "sha256:" + "0" * 64
    with (
        RewardClient(server.url, expect_fingerprint=pinned, retries=0) as client,
        pytest.raises(FingerprintChanged) as caught,
    ):
        client.score_group("p", ["r"])
    assert (caught.value.expected, caught.value.served) == (pinned, served)
    assert f"{pinned} is pinned, {served} is served" in str(caught.value)
