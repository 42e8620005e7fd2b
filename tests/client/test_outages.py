"""Servers that are away, come back, hang or refuse: single scenes, beside the fault matrix."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from basereward_client import (
    DeadlineExceeded,
    InvalidAnswer,
    RewardClient,
    ServerFailure,
    delivery,
    engine,
    request,
)
from basereward_client.pictures import Pictures
from tests.client.fault_proxy import (
    Exchange,
    Fault,
    answered_twice,
    edit_json,
    hang,
    proxied,
    refuse,
    reset_in_request,
)
from tests.client.serving import (
    ALLOWANCE_S,
    BOTH,
    EITHER,
    Live,
    nothing_but_errors,
    score,
    some_items,
)
from tests.client.wrong_answers import garbage
from tests.inputs.pictures import chunk, pixels, png_file, raster
from tests.models import reward

pytestmark = pytest.mark.usefixtures("hurry")


@BOTH
@EITHER
def test_refused_until_the_server_is_up(server: Live, kind: str, on_error: str) -> None:
    items, expected = some_items()
    with proxied(server.portal, [server.port]) as proxy:
        server.portal.call(proxy.shut)
        with _at_the_first_retry(lambda: server.portal.start_task_soon(proxy.open)):
            assert score(kind, items, proxy.url, on_error=on_error, timeout=10) == expected
        assert len(proxy.arrived) == 1


@BOTH
@EITHER
def test_refused_for_good(server: Live, kind: str, on_error: str) -> None:
    items, expected = some_items()
    begun = time.monotonic()
    with proxied(server.portal, [server.port]) as proxy:
        server.portal.call(proxy.shut)
        if on_error == "none":
            rewards = score(kind, items, proxy.url, on_error=on_error, timeout=0.3)
            nothing_but_errors(rewards, expected)
            assert {e.code for e in rewards.errors} == {"deadline_exceeded"}
            assert (rewards.fingerprint, rewards.usage) == (None, {})
        else:
            with pytest.raises(DeadlineExceeded, match="ConnectError"):
                score(kind, items, proxy.url, timeout=0.3)
    assert time.monotonic() - begun < 0.3 + ALLOWANCE_S


@contextmanager
def _at_the_first_retry(act: Callable[[], object]) -> Iterator[None]:
    class Once(logging.Handler):
        def emit(self, _: logging.LogRecord) -> None:
            delivery.log.removeHandler(self)
            act()

    handler = Once()
    delivery.log.addHandler(handler)
    try:
        yield
    finally:
        delivery.log.removeHandler(handler)


@BOTH
def test_reset_in_the_middle_of_a_large_body(server: Live, kind: str) -> None:
    """Larger than what the sockets hold, so that the client is still writing."""
    ballast = chunk(b"teSt", bytes(8 * 2**20))
    picture = png_file(40, 30, 8, 2, pixels(seed=3).tobytes(), ballast)
    items = [{"prompt": "p", "response": "r", "image": picture}]
    with proxied(server.portal, [server.port], [reset_in_request] * 2) as proxy:
        assert score(kind, items, proxy.url, timeout=20) == [
            reward("p", "r", raster(pixels(seed=3)))
        ]
        assert len(proxy.arrived) == 3


@pytest.mark.parametrize(("kind", "status"), [("sync", 429), ("async", 503)])
def test_retry_after_is_waited_for(server: Live, kind: str, status: int) -> None:
    items, expected = some_items(tag=f"{kind} {status}")
    with proxied(server.portal, [server.port], [refuse(status, "1")]) as proxy:
        assert score(kind, items, proxy.url) == expected
    first, second = proxy.arrived
    assert second - first >= 1.0


@pytest.mark.parametrize("own", [{}, {"id": "the caller's"}], ids=["no id", "id"])
def test_a_stale_answer_on_the_connection_is_not_believed(
    server: Live, own: dict[str, str]
) -> None:
    """As of a proxy that answers a duplicate too: the next request reads the answer to the last."""
    with (
        proxied(server.portal, [server.port], [answered_twice] * 3) as proxy,
        RewardClient(proxy.url) as client,
    ):
        for response in "abcdef":
            item = {"prompt": "p", "response": response}
            assert client.score([item | own]) == [reward(**item)]


@pytest.mark.parametrize("own", [{}, {"id": "the caller's"}], ids=["no id", "id"])
def test_the_answer_to_another_chunk_is_not_believed(
    server: Live, monkeypatch: pytest.MonkeyPatch, own: dict[str, str]
) -> None:
    monkeypatch.setattr(request, "LIMITS", (2, 2**20, 100))
    replies: list[bytes] = []

    async def as_the_first(exchange: Exchange) -> None:
        replies.append((await exchange.forward()).whole)
        await exchange.write(replies[0])

    items = [{"prompt": f"p{i}", "response": "a"} for i in range(6)]
    with proxied(server.portal, [server.port], [as_the_first] * 3) as proxy:
        rewards = score("sync", [item | own for item in items], proxy.url, max_connections=1)
    assert rewards == [reward(**item) for item in items]


def test_a_null_is_not_believed_where_none_was_asked_for(server: Live) -> None:
    def nulled(body: dict[str, Any]) -> None:
        body["rewards"] = [None]
        body["errors"] = [{"index": 0, "response": 0, "code": "model_failure", "message": "m"}]

    item = {"prompt": "p", "response": "r"}
    with proxied(server.portal, [server.port], [edit_json(nulled)] * 4) as proxy:
        with pytest.raises(InvalidAnswer, match="errors"):
            score("sync", [item], proxy.url)
        assert score("sync", [item], proxy.url, on_error="none") == [None]


def test_the_shortest_wish_of_several_urls_counts(server: Live) -> None:
    begun = time.monotonic()
    with (
        proxied(server.portal, [server.port], [refuse(503, "0")]) as one,
        proxied(server.portal, [server.port], [refuse(503, "30")]) as other,
    ):
        items, expected = some_items(tag="wishes")
        assert score("sync", items[:1], [one.url, other.url], timeout=10) == expected[:1]
    assert time.monotonic() - begun < 5


def test_an_idle_connection_is_not_kept_for_long(
    server: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server closes it at about that time, and a request would meet the end."""
    item = {"prompt": "p", "response": "r"}
    for keepalive_s, connections in ((60.0, 1), (0.0, 3)):
        monkeypatch.setattr(engine, "KEEPALIVE_S", keepalive_s)
        with (
            proxied(server.portal, [server.port]) as proxy,
            RewardClient(proxy.url) as client,
        ):
            assert [client.score([item]) for _ in "abc"] == [[reward(**item)]] * 3
            assert proxy.connections == connections


@BOTH
@pytest.mark.parametrize(("faults", "retries"), [([reset_in_request], 0), ([garbage] * 3, None)])
def test_one_lost_chunk_is_none_and_the_others_are_right(
    server: Live, monkeypatch: pytest.MonkeyPatch, kind: str, faults: list[Fault], retries: Any
) -> None:
    """One connection, so that the chunks go one by one."""
    monkeypatch.setattr(request, "LIMITS", (2, 2**20, 100))
    items = [{"prompt": f"p{i}", "response": "a"} for i in range(6)]
    settings = {"max_connections": 1, "retries": retries, "on_error": "none"}
    with proxied(server.portal, [server.port], faults) as proxy:
        rewards = score(kind, items, proxy.url, **settings)
    lost = [i for i, got in enumerate(rewards) if got is None]
    assert len(lost) == 2 if retries == 0 else not lost
    assert [e.index for e in rewards.errors] == lost
    assert all(rewards[i] == reward(**items[i]) for i in range(6) if i not in lost)


@BOTH
def test_a_failing_chunk_cancels_the_others(
    server: Live, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Else the call would wait for the one that hangs."""
    monkeypatch.setattr(request, "LIMITS", (1, 2**20, 100))
    items = [{"prompt": f"p{i}", "response": "a"} for i in range(2)]
    begun = time.monotonic()
    with (
        proxied(server.portal, [server.port], [hang, refuse(500)]) as proxy,
        pytest.raises(ServerFailure),
    ):
        score(kind, items, proxy.url, timeout=60)
    assert time.monotonic() - begun < 30


@BOTH
def test_a_dead_url_is_passed_over(server: Live, kind: str) -> None:
    with proxied(server.portal, [server.port]) as proxy:
        server.portal.call(proxy.shut)
        urls = [proxy.url, server.url]
        some = [{"prompt": f"p{i}", "response": "a"} for i in range(64)]
        doomed = [x for x in some if delivery.order(urls, _key(x), ())[0] == proxy.url][:4]
        for item in doomed:
            assert score(kind, [item], urls, timeout=5) == [reward(**item)]
        with RewardClient(urls) as client:
            assert client.score(some) == [reward(**item) for item in some]
            server.portal.call(proxy.open)  # but for a while it is asked last
            assert client.score(some) == [reward(**item) for item in some]
            assert not proxy.arrived
    assert doomed


def _key(item: dict[str, Any]) -> str:
    return request.planned(0, item, Pictures(None), "").context
