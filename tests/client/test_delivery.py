"""The policy of tries: which URL, how long a pause, what is logged, what each status means."""

import json
import logging
import random
from collections import Counter

import httpx
import pytest

from basereward_client import (
    BadRequest,
    FingerprintChanged,
    ItemError,
    RewardClient,
    ServerFailure,
    Unauthorized,
    Unavailable,
)
from basereward_client.delivery import order, pause_s, refusal
from tests.client.fault_proxy import proxied, refuse
from tests.client.serving import Live
from tests.models import reward

URLS = ["http://a:1", "http://b:1", "http://c:1"]
ITEM = {"prompt": "p", "response": "r"}


def test_siblings_meet_at_one_url_and_groups_spread() -> None:
    firsts = Counter(order(URLS, f"group {i}", ())[0] for i in range(300))
    assert all(60 < firsts[url] < 140 for url in URLS)
    assert order(URLS, "g", ()) == order(URLS[::-1], "g", ())


def test_without_a_url_the_others_keep_their_groups() -> None:
    for i in range(50):
        whole = order(URLS, f"group {i}", ())
        left = order(URLS[1:], f"group {i}", ())
        assert left == [url for url in whole if url != URLS[0]]


def test_a_fallen_url_is_the_last() -> None:
    for i in range(50):
        assert order(URLS, f"group {i}", [URLS[0]])[-1] == URLS[0]


def test_pauses_grow_to_eight_seconds_with_full_jitter() -> None:
    random.seed(1)
    for rounds, most in enumerate([0.25, 0.5, 1, 2, 4, 8, 8, 8]):
        some = [pause_s(rounds, 0.0, 1e9) for _ in range(300)]
        assert 0 <= min(some) < most / 10
        assert most * 0.9 < max(some) <= most


def test_a_wish_is_honoured_within_the_deadline_only() -> None:
    assert 5.0 <= pause_s(0, 5.0, 60.0) <= 5.25
    assert pause_s(0, 120.0, 60.0) == 30.0  # and one more try before it


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (301, BadRequest),
        (400, BadRequest),
        (401, Unauthorized),
        (404, BadRequest),
        (408, BadRequest),
        (412, FingerprintChanged),
        (413, BadRequest),
        (415, BadRequest),
        (422, BadRequest),
        (429, Unavailable),
        (500, ServerFailure),
        (501, ServerFailure),
        (502, Unavailable),
        (503, Unavailable),
        (504, Unavailable),
    ],
)
def test_each_status_has_its_error(status: int, kind: type) -> None:
    page = refusal(httpx.Response(status, text="<html>"), "http://a:1", ())
    assert (type(page), page.code, page.items) == (kind, f"http_{status}", ())
    told = {
        "code": "item_too_long",
        "message": "items[1].prompt: too long",
        "param": "items[1].prompt",
        "items": [
            {"index": 1, "response": None, "code": "item_too_long", "message": "items[1]: m"}
        ],
    }
    headers = {"x-request-id": "req-7", "retry-after": "3"}
    answer = httpx.Response(status, text=json.dumps({"error": told}), headers=headers)
    error = refusal(answer, "http://a:1", [40, 70])
    assert (type(error), error.code, error.param) == (kind, "item_too_long", "items[70].prompt")
    assert str(error).startswith("items[70].prompt: too long")
    assert error.items == [ItemError(70, None, "item_too_long", "items[70]: m")]
    assert (error.request_id, error.retry_after_s) == ("req-7", 3.0)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'{"error": "no"}',
        b'{"error": {"code": "c"}}',
        b'{"error": {"code": "c", "message": "items[9]: m"}}',
        b'{"error": {"code": "c", "message": "m", "items": [{"index": 99}]}}',
        b"\xff\xfe",
    ],
)
def test_a_refusal_of_another_shape_is_still_its_status(body: bytes) -> None:
    error = refusal(httpx.Response(422, content=body), "http://a:1", [0])
    assert (type(error), error.code) == (BadRequest, "http_422")


@pytest.mark.parametrize("wish", ["soon", "-1", "", "nan", "1e999"])
def test_a_wish_that_is_no_number_of_seconds_is_none(wish: str) -> None:
    answer = httpx.Response(503, headers={"retry-after": wish})
    assert refusal(answer, "http://a:1", ()).retry_after_s == 0.0


def test_the_first_retry_is_logged_and_then_seldom(
    server: Live, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "basereward_client")
    faults = [refuse(503, "0"), refuse(502), refuse(503)]
    with (
        proxied(server.portal, [server.port], faults) as proxy,
        RewardClient(proxy.url.replace("//", "//user:SECRET@")) as client,
    ):
        assert client.score([ITEM]) == [reward(**ITEM)]
    (line,) = caplog.records
    assert "503" in line.getMessage()
    assert proxy.url in line.getMessage()
    assert "SECRET" not in line.getMessage()


def test_good_weather_is_not_logged(server: Live, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "basereward_client")
    with RewardClient(server.url) as client:
        client.score([ITEM])
    assert not [r for r in caplog.records if r.name == "basereward_client"]
