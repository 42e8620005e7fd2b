"""Calls against the real application: what is asked of it, and what its refusals and partial answers become."""

import asyncio
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from basereward_client import (
    AsyncRewardClient,
    BadRequest,
    DeadlineExceeded,
    NotReady,
    RewardClient,
    RewardError,
    ServerFailure,
    Unauthorized,
    request,
)
from tests.client.fault_proxy import Exchange, clear, proxied
from tests.client.serving import CAT_PNG, STREET, STREET_PNG, Live, live, score
from tests.models import StandIn, reward, reward_of

WITH_UNKNOWN_KEY = {
    "role": "user",
    "content": [{"type": "image", "image": STREET_PNG, "min_pixels": 4}],
}
BOTH = pytest.mark.parametrize("kind", ["sync", "async"])


@pytest.fixture(scope="module")
def server() -> Iterator[Live]:
    model = StandIn()
    model.answers["nan"] = float("nan")
    model.broken.add("broken")
    model.noted["noted"] = "strange"
    with live(model) as one:
        yield one


def _singles(*responses: str) -> list[dict[str, str]]:
    return [{"prompt": f"p{i}", "response": r} for i, r in enumerate(responses)]


@BOTH
def test_what_is_known_of_the_rewards(server: Live, kind: str) -> None:
    items = [*_singles("a", "noted"), {"prompt": "g", "responses": ["x", "noted", "y"]}]
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
    items = _singles("a", "noted", "b", "c", "d", "noted", "e")
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
    items: list[dict[str, Any]] = [*_singles(*"abcdefgh"), {"prompt": "", "response": "x"}]
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
        *_singles("a", "nan", "b"),
        {"prompt": "g", "responses": ["x", "nan", "y"]},
        {"prompt": "p", "response": "r", "image": b"no picture"},
        {"prompt": "p", "response": "r", "unheard": 1},
        {"prompt": "p", "responses": ["q", "r"], "id": 7},
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
        score(kind, [*_singles("a"), bad], server.url)
    assert caught.value.code == code
    assert [e.index for e in caught.value.items] in ([1], [])


@BOTH
@pytest.mark.parametrize("on_error", ["raise", "none"])
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
        score(kind, _singles("a"), server.url, on_error=on_error, **settings)
    assert caught.value.code == code


def test_options_are_sent(server: Live) -> None:
    with RewardClient(server.url, transform="sigmoid", model="basereward") as client:
        (got,) = client.score(_singles("a"))
    assert 0 < got < 1
    with RewardClient(server.url, transform={"sigmoid": {"temperature": 2, "offset": 1}}) as client:
        assert client.score(_singles("a")) != [got]


def test_chats(server: Live) -> None:
    text = {"type": "text", "text": "p", "image": None}
    question = {"role": "user", "content": [{"type": "image", "image": STREET_PNG}, text]}
    expected = [reward_of([("user", [STREET, "p"])], r) for r in "ab"]
    with RewardClient(server.url) as client:
        assert client.score_group([question], ["a", "b"]) == expected
        assert client.score_group("p", ["a", "b"], [STREET_PNG]) == expected
        assert client.score_group("p", iter(["a"]), image=STREET_PNG, id="q") == expected[:1]


# Keys and labels


class Heard:
    """The heads of the requests that arrive."""

    def __init__(self) -> None:
        self.heads: list[dict[str, str]] = []

    async def __call__(self, exchange: Exchange) -> None:
        self.heads.append(exchange.headers)
        await clear(exchange)


def test_headers(server: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request, "LIMITS", (2, 2**20, 9))
    heard = Heard()
    info = server.model.info
    with (
        proxied(server.portal, [server.port], [heard] * 3) as proxy,
        RewardClient(
            proxy.url,
            api_key="KEY",
            run="grpo-7",
            expect_fingerprint=info.fingerprint,
            expect_numerics=info.numerics,
            timeout=90,
        ) as client,
    ):
        client.score([*_singles(*"abc"), {"prompt": "p2", "response": "its sibling"}])
    for head in heard.heads:
        assert head["authorization"] == "Bearer KEY"
        assert head["x-run"] == "grpo-7"
        assert head["x-expect-fingerprint"] == info.fingerprint
        assert head["x-expect-numerics"] == info.numerics
        assert 84 <= float(head["x-request-timeout-s"]) < 90
        assert head["content-type"] == "application/json"
    assert len({head["x-group-key"] for head in heard.heads}) == 2


@BOTH
def test_keys_and_their_lack(kind: str) -> None:
    items = _singles("a")
    with live(api_key="KEY") as guarded:
        bare = f"127.0.0.1:{guarded.port}"
        assert score(kind, items, guarded.url, api_key="KEY") == [reward(**items[0])]
        assert score(kind, items, f"http://user:KEY@{bare}") == [reward(**items[0])]
        for on_error in ("raise", "none"):
            with pytest.raises(Unauthorized):
                score(kind, items, guarded.url, on_error=on_error)
            with pytest.raises(Unauthorized):
                score(kind, items, guarded.url, on_error=on_error, api_key="ANOTHER")


def test_a_key_with_reserved_characters_may_stand_in_the_url() -> None:
    items = _singles("a")
    with live(api_key="K/E:Y@") as guarded:
        url = f"http://user:K%2FE%3AY%40@127.0.0.1:{guarded.port}/"
        assert score("sync", items, url) == [reward(**items[0])]


def test_secrets_are_not_shown() -> None:
    client = RewardClient("http://user:SECRET@127.0.0.1:1", api_key="SECRET2", timeout=0.2)
    with client, pytest.raises(DeadlineExceeded) as caught:
        client.score(_singles("a"))
    assert "SECRET" not in f"{client!r} {caught.value!r} {vars(caught.value)}"


@pytest.mark.parametrize(
    "settings",
    [
        {"base_url": "127.0.0.1:8000"},
        {"base_url": "ftp://host"},
        {"base_url": "http://"},
        {"base_url": "http://host/?run=a"},
        {"base_url": []},
        {"timeout": 0},
        {"timeout": float("nan")},
        {"max_connections": 0},
        {"on_error": "zero"},
        {"run": "two\nlines"},
        {"run": "Läufe"},
        {"api_key": "k\r\nX: y"},
    ],
)
def test_what_cannot_work_is_refused_at_once(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"."):
        RewardClient(**settings)


def test_settings_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BASEREWARD_URL", "http://a:1, http://b:2")
    monkeypatch.setenv("BASEREWARD_API_KEY", "k")
    monkeypatch.setenv("BASEREWARD_TIMEOUT_S", "12.5")
    monkeypatch.setenv("BASEREWARD_EXPECT_FINGERPRINT", "first")
    monkeypatch.setenv("BASEREWARD_RUN", "r")
    client = AsyncRewardClient.from_env(run="s", on_error="none")
    assert type(client) is AsyncRewardClient
    assert list(client.urls) == ["http://a:1", "http://b:2"]
    assert (client.api_key, client.timeout, client.run) == ("k", 12.5, "s")
    assert (client.expect_fingerprint, client.on_error) == ("first", "none")
    monkeypatch.setenv("BASEREWARD_URL", "")
    assert list(RewardClient.from_env().urls) == ["http://127.0.0.1:8000"]


# Readiness, and what is served


@BOTH
def test_info(server: Live, kind: str) -> None:
    assert _info(kind, server.url)["model"]["fingerprint"] == server.model.info.fingerprint


def _info(kind: str, url: str) -> dict[str, Any]:
    if kind == "sync":
        with RewardClient(url) as client:
            return client.info()

    async def awaited() -> dict[str, Any]:
        async with AsyncRewardClient(url) as client:
            return await client.info()

    return asyncio.run(awaited())


def _wait_ready(kind: str, url: Any, timeout: float | None, **settings: Any) -> None:
    async def awaited() -> None:
        async with AsyncRewardClient(url, **settings) as client:
            await client.wait_ready(timeout)

    if kind == "async":
        asyncio.run(awaited())
    else:
        with RewardClient(url, **settings) as client:
            client.wait_ready(timeout)


@BOTH
def test_every_url_has_to_be_ready(server: Live, kind: str) -> None:
    _wait_ready(kind, server.url, None)
    with proxied(server.portal, [server.port]) as late:
        server.portal.call(late.shut)
        with pytest.raises(NotReady, match=f"{late.url}: ConnectError") as caught:
            _wait_ready(kind, [server.url, late.url], 0.3)
        assert server.url not in str(caught.value)
        server.portal.call(late.open)
        _wait_ready(kind, [server.url, late.url], 20)


def test_probes_on_another_port_are_no_obstacle() -> None:
    """With an ops port there is no /readyz on this one; /info tells as well."""
    with live(ops_port=_free_port(), api_key="KEY") as split:
        _wait_ready("sync", split.url, 20, api_key="KEY")
        with pytest.raises(Unauthorized):
            _wait_ready("sync", split.url, 20)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as one:
        return int(one.getsockname()[1])


# The deadline


@BOTH
def test_a_deadline_with_none_keeps_what_was_scored(server: Live, kind: str) -> None:
    """The server answers its part just before the client's own deadline."""
    with live() as slow:
        settings = {"timeout": 1.0, "on_error": "none"}
        assert score(kind, _singles("a"), slow.url, **settings) == [reward("p0", "a")]
        slow.model.hold()
        rewards = score(kind, _singles("b", "c"), slow.url, **settings)
        assert rewards == [None, None]
        assert {e.code for e in rewards.errors} == {"deadline_exceeded"}
        assert rewards.fingerprint == slow.model.info.fingerprint  # its answer, not our silence


def test_the_deadline_holds_while_pictures_are_encoded(server: Live) -> None:
    def endless() -> Iterator[dict[str, Any]]:
        i = 0
        while True:
            i += 1
            yield {"prompt": f"p{i}", "response": "r", "image": CAT_PNG}

    with RewardClient(server.url, timeout=0.3) as client, pytest.raises(DeadlineExceeded):
        client.score(endless())
