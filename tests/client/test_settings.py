"""What a client is told: headers, keys, the environment; and what is refused at once."""

from typing import Any

import pytest

from basereward_client import (
    AsyncRewardClient,
    DeadlineExceeded,
    RewardClient,
    Unauthorized,
    request,
)
from tests.client.fault_proxy import Exchange, clear, proxied
from tests.client.serving import BOTH, Live, live, score, singles
from tests.models import reward


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
        client.score([*singles(*"abc"), {"prompt": "p2", "response": "its sibling"}])
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
    items = singles("a")
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
    items = singles("a")
    with live(api_key="K/E:Y@") as guarded:
        url = f"http://user:K%2FE%3AY%40@127.0.0.1:{guarded.port}/"
        assert score("sync", items, url) == [reward(**items[0])]


def test_secrets_are_not_shown() -> None:
    client = RewardClient("http://user:SECRET@127.0.0.1:1", api_key="SECRET2", timeout=0.2)
    with client, pytest.raises(DeadlineExceeded) as caught:
        client.score(singles("a"))
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
