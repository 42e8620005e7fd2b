"""The fault matrix: whatever happens between client and server, each row is its right reward or a typed error."""

import logging
import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from basereward_client import (
    DeadlineExceeded,
    FingerprintChanged,
    InvalidAnswer,
    RewardClient,
    RewardError,
    ServerFailure,
    Unavailable,
    delivery,
    request,
)
from basereward_client.pictures import Pictures
from tests.client.fault_proxy import (
    Fault,
    answered_twice,
    duplicate,
    edit,
    edit_json,
    hang,
    other_fingerprint,
    proxied,
    refuse,
    reset_in_answer,
    reset_in_request,
    slow_body,
    slow_first_byte,
)
from tests.client.serving import Live, live, score, some_items
from tests.inputs.pictures import chunk, pixels, png_file, raster
from tests.models import StandIn, reward

KINDS = ("sync", "async")
ALLOWANCE_S = 1.0  # beyond the deadline, on a busy machine


@pytest.fixture(scope="module")
def server() -> Iterator[Live]:
    with live() as one:
        yield one


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tenth of the pauses; their length is tested by itself."""
    monkeypatch.setattr(delivery, "FIRST_PAUSE_S", 0.025)


@dataclass(frozen=True)
class Row:
    """What happens to the requests of one call, and what comes of it.

    Args:
        error: that on_error "raise" raises; None: every reward is right.
        raised_anyway: with on_error "none" too; else every row is None, with the error's code.
        tries: requests that arrive; None: however many fit into the deadline.
    """

    name: str
    faults: list[Fault]
    error: type[RewardError] | None = None
    raised_anyway: bool = False
    tries: int | None = None
    timeout: float = 10.0
    settings: dict[str, Any] = field(default_factory=dict)


def _cut(body: dict[str, Any]) -> None:
    body["rewards"] = body["rewards"][:-1]


def _longer(body: dict[str, Any]) -> None:
    body["rewards"].append(0.5)


def _shorter_group(body: dict[str, Any]) -> None:
    next(row for row in body["rewards"] if isinstance(row, list) and len(row) > 1).pop()


def _flat(body: dict[str, Any]) -> None:
    body["rewards"] = [row[0] if isinstance(row, list) else row for row in body["rewards"]]


def _put(value: Any) -> Fault:
    def change(body: dict[str, Any]) -> None:
        at = next(i for i, row in enumerate(body["rewards"]) if not isinstance(row, list))
        body["rewards"][at] = value

    return edit_json(change)


def _swapped_ids(body: dict[str, Any]) -> None:
    body["ids"] = body["ids"][::-1]


garbage = edit(lambda reply: reply.with_body(b"<html>captive portal</html>"))
truncated = edit(lambda reply: reply.with_body(reply.body[:-30]))
cut_short = edit_json(_cut)
header_disagrees = edit(lambda reply: reply.with_header("x-model-fingerprint", "sha256:other"))
unavailable = [refuse(status) for status in (502, 503, 504, 502)]
FOR_GOOD = 200  # more than fit into a deadline of the matrix

MATRIX = [
    Row("clear", [], tries=1),
    Row("reset in the request", [reset_in_request] * 2, tries=3),
    Row("reset in the answer", [reset_in_answer] * 2, tries=3),
    Row("reset for good", [reset_in_answer] * FOR_GOOD, DeadlineExceeded, timeout=0.3),
    Row("burst of 502, 503, 504", unavailable, tries=5),
    Row("503 with Retry-After: 0", [refuse(503, "0")], tries=2),
    Row("503 for good", [refuse(503)] * FOR_GOOD, DeadlineExceeded, timeout=0.3),
    Row("Retry-After beyond the deadline", [refuse(503, "3600")], tries=2, timeout=0.4),
    Row(
        "429 for good, 2 retries", [refuse(429)] * 9, Unavailable, tries=3, settings={"retries": 2}
    ),
    Row("502, no retries", [refuse(502)], Unavailable, tries=1, settings={"retries": 0}),
    Row("500", [refuse(500)], ServerFailure, tries=1),
    Row("slow first byte", [slow_first_byte(0.15)], tries=1),
    Row("slow body", [slow_body(0.15)], tries=1),
    Row("first byte after the deadline", [hang], DeadlineExceeded, timeout=0.3, tries=1),
    Row("body after the deadline", [slow_body(5.0)], DeadlineExceeded, timeout=0.3, tries=1),
    Row("delivered twice", [duplicate], tries=1),
    Row("garbage", [garbage] * 2, tries=3),
    Row("garbage for good", [garbage] * 9, InvalidAnswer, tries=3),
    Row("truncated JSON", [truncated], tries=2),
    Row("truncated JSON for good", [truncated] * 9, InvalidAnswer, tries=3),
    Row("a reward too few", [cut_short], tries=2),
    Row("a reward too few for good", [cut_short] * 9, InvalidAnswer, tries=3),
    Row("a reward too many", [edit_json(_longer)] * 9, InvalidAnswer, tries=3),
    Row("a group too short", [edit_json(_shorter_group)] * 9, InvalidAnswer, tries=3),
    Row("groups as numbers", [edit_json(_flat)] * 9, InvalidAnswer, tries=3),
    Row("NaN", [_put(math.nan)] * 9, InvalidAnswer, tries=3),
    Row("infinity", [_put(math.inf)] * 2, tries=3),
    Row("a null that no error explains", [_put(None)] * 9, InvalidAnswer, tries=3),
    Row("a number as text", [_put("0.5")] * 9, InvalidAnswer, tries=3),
    Row("true", [_put(True)] * 9, InvalidAnswer, tries=3),
    Row("the answer to something else", [edit_json(_swapped_ids)] * 9, InvalidAnswer, tries=3),
    Row("header and body of two servers", [header_disagrees] * 9, InvalidAnswer, tries=3),
    Row(
        "another function than the pinned, once",
        [other_fingerprint()],
        tries=2,
        settings={"expect_fingerprint": StandIn().info.fingerprint},
    ),
    Row(
        "another function than the pinned, for good",
        [other_fingerprint()] * FOR_GOOD,
        FingerprintChanged,
        raised_anyway=True,
        timeout=0.3,
        settings={"expect_fingerprint": StandIn().info.fingerprint},
    ),
    Row(
        "412 for good",
        [],
        FingerprintChanged,
        raised_anyway=True,
        timeout=0.3,
        settings={"expect_fingerprint": "sha256:of long ago"},
    ),
    Row(
        "412 for good, 1 retry",
        [],
        FingerprintChanged,
        raised_anyway=True,
        tries=2,
        settings={"expect_numerics": "of another chip", "retries": 1},
    ),
]


@pytest.mark.parametrize("on_error", ["raise", "none"])
@pytest.mark.parametrize("row", MATRIX, ids=lambda row: row.name)
def test_matrix(server: Live, row: Row, on_error: str) -> None:
    """Both clients at once, each through weather of its own."""
    with ThreadPoolExecutor(2) as pool:
        for ended in [pool.submit(_weather, server, row, kind, on_error) for kind in KINDS]:
            ended.result()


def _weather(server: Live, row: Row, kind: str, on_error: str) -> None:
    items, expected = some_items(tag=f"{row.name} {kind} {on_error}")
    options = {"timeout": row.timeout, "on_error": on_error, **row.settings}
    begun = time.monotonic()
    with proxied(server.portal, [server.port], row.faults) as proxy:
        if row.error is None:
            assert score(kind, items, proxy.url, **options) == expected
        elif on_error == "raise" or row.raised_anyway:
            with pytest.raises(row.error) as caught:
                score(kind, items, proxy.url, **options)
            assert type(caught.value) is row.error
        else:
            _is_nothing_but_errors(score(kind, items, proxy.url, **options), expected)
    assert time.monotonic() - begun < row.timeout + ALLOWANCE_S
    if row.tries is not None:
        assert len(proxy.arrived) == row.tries
    assert len(proxy.arrived) > 1 or row.tries == 1


def _is_nothing_but_errors(rewards: Any, expected: list[Any]) -> None:
    assert rewards == [[None] * len(row) if isinstance(row, list) else None for row in expected]
    places = [(e.index, e.response) for e in rewards.errors]
    assert places == [
        (i, r)
        for i, row in enumerate(expected)
        for r in range(len(row) if isinstance(row, list) else 1)
    ]


BOTH = pytest.mark.parametrize("kind", KINDS)
EITHER = pytest.mark.parametrize("on_error", ["raise", "none"])


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
            _is_nothing_but_errors(rewards, expected)
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


def test_a_stale_answer_on_the_connection_is_not_believed(server: Live) -> None:
    """As of a proxy that answers a duplicate too: the next request reads the answer to the last."""
    with (
        proxied(server.portal, [server.port], [answered_twice] * 3) as proxy,
        RewardClient(proxy.url) as client,
    ):
        for response in "abcdef":
            item = {"prompt": "p", "response": response}
            assert client.score([item]) == [reward(**item)]


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


# The function that answers changes


@BOTH
@EITHER
def test_two_functions_in_one_call_are_never_mixed(
    server: Live, monkeypatch: pytest.MonkeyPatch, kind: str, on_error: str
) -> None:
    monkeypatch.setattr(request, "LIMITS", (2, 2**20, 100))
    items = [{"prompt": f"p{i}", "response": "a"} for i in range(6)]
    with (
        proxied(server.portal, [server.port], [other_fingerprint()]) as proxy,
        pytest.raises(FingerprintChanged, match="in one call"),
    ):
        score(kind, items, proxy.url, on_error=on_error)


def test_the_first_function_is_pinned_for_the_life_of_the_client(server: Live) -> None:
    item = {"prompt": "p", "response": "a"}
    known = StandIn().info.fingerprint
    with proxied(server.portal, [server.port]) as proxy:
        with RewardClient(proxy.url, expect_fingerprint="first", timeout=0.3) as client:
            assert client.score([item]).fingerprint == known
            proxy.faults += [other_fingerprint()] * FOR_GOOD
            with pytest.raises(FingerprintChanged, match=known):
                client.score([item])
            proxy.faults.clear()
            assert client.score([item]).fingerprint == known
        with RewardClient(proxy.url) as client:  # nothing is pinned: told, not refused
            proxy.faults += [other_fingerprint()]
            assert [client.score([item]).fingerprint for _ in "ab"] == ["sha256:other", known]


@BOTH
def test_412_is_asked_again_on_a_fresh_connection(server: Live, kind: str) -> None:
    """A balancer leads each connection to one replica; a rollout has reached some."""
    items, expected = some_items(tag=kind)
    with _updated() as new, proxied(server.portal, [server.port, server.port, new.port]) as proxy:
        pinned = {"expect_fingerprint": new.model.info.fingerprint}
        # Sooner than an idle connection would be given up anyway.
        rewards = score(kind, items, proxy.url, timeout=3, **pinned)
        assert proxy.connections == 3
    assert (rewards, rewards.fingerprint) == (expected, new.model.info.fingerprint)
    assert server.model.info.fingerprint != rewards.fingerprint


@BOTH
def test_412_is_asked_again_of_another_url(server: Live, kind: str) -> None:
    with _updated() as new:
        for response in "abcd":  # whichever URL comes first
            item = {"prompt": f"p{response}", "response": response}
            pinned = new.model.info.fingerprint
            urls = [server.url, new.url]
            assert score(kind, [item], urls, expect_fingerprint=pinned) == [reward(**item)]


@contextmanager
def _updated() -> Iterator[Live]:
    model = StandIn()
    model.info = replace(model.info, fingerprint="sha256:new")
    with live(model) as one:
        yield one


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
