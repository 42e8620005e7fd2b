"""However a request ends, it leaves no reference cycle: its body would stay until the server is idle."""

import base64
import json
import random
import socket
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.fuzz.campaign import Campaign
from tests.inputs.pictures import png
from tests.live.conftest import serving
from tests.live.cycles import SAID

SERVE = (sys.executable, "-m", "tests.live.cycles", "serve")
LONG = {"prompt": "p", "responses": [f"{i} " + "red " * 300 for i in range(600)]}  # several parts
SETTLED_S = 30.0
IDLE = {
    "basereward_inflight_requests 1.0",  # the one that asks
    "basereward_running_items 0.0",
    "basereward_queue_depth 0.0",
}


def pictured(data: bytes, **more) -> dict:
    return {
        "prompt": "p",
        "image": base64.b64encode(data).decode(),
        "response": "r",
    } | more


@pytest.fixture(scope="module")
def server():
    with serving(program=SERVE) as one:
        yield one.ready()


def cycles(server) -> str:
    """That the server has made since it was asked last; waits until it does nothing any more."""
    end = time.monotonic() + SETTLED_S
    while not IDLE.issubset(httpx.get(server.url + "/metrics").text.splitlines()):
        assert time.monotonic() < end, "it still works"
        time.sleep(0.05)
    return "\n".join(server.tell("collect", SAID)["found"])


def post(server, item: object, path: str = "/score", **options) -> httpx.Response:
    content = item if isinstance(item, bytes) else json.dumps(item).encode()
    headers = {"content-type": "application/json"}
    return httpx.post(server.url + path, content=content, headers=headers, timeout=60, **options)


def test_a_mix_of_requests_leaves_none(server):
    cycles(server)
    found = Campaign(server.url, random.SystemRandom().randrange(2**32), 1000).run()
    assert found.inputs == 1000
    assert not cycles(server)


@pytest.mark.parametrize(
    ("status", "item", "path"),
    [
        (200, LONG, "/score"),
        (504, LONG, "/score?timeout_s=0.05"),
        (200, LONG | {"on_error": "null"}, "/score?timeout_s=0.3"),
        (422, LONG | {"responses": ["a", "red " * 5000]}, "/score"),
        (200, LONG | {"responses": ["a", "red " * 5000], "on_error": "null"}, "/score"),
        (200, pictured(png(200, 100, 1)), "/score"),
        (422, pictured(png(200, 100, 2)[:-500]), "/score"),
        (200, pictured(png(200, 100, 3)[:-500], on_error="null"), "/score"),
        (422, pictured(b"", image="https://pictures.example/a.png"), "/score"),
        (422, {"items": [pictured(png(200, 100, 4)), pictured(b"no picture")]}, "/score"),
        (400, b"[" * 100_000, "/score"),
        (413, b"[" + b"{}," * 2_000_000 + b"1]", "/score"),
        (412, LONG, "/score?expect_fingerprint=sha256:0"),
        (404, LONG, "/scores"),
    ],
)
def test_a_request_leaves_none(server, status, item, path):
    cycles(server)
    assert post(server, item, path).status_code == status
    assert not cycles(server)


@pytest.mark.parametrize(("cut", "status"), [(None, 200), (-900, 422)])
def test_one_picture_for_many_leaves_none(server, cut, status):
    cycles(server)
    item = pictured(png(700, 700, 5)[:cut])
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: post(server, item), range(8)))
    assert [answer.status_code for answer in answers] == [status] * 8
    assert not cycles(server)


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("seconds", [0.02, 0.2])
def test_who_hangs_up_leaves_none(server, whole, seconds):
    cycles(server)
    body = json.dumps(LONG).encode()
    head = f"POST /score HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", httpx.URL(server.url).port)) as one:
        one.sendall(head.encode() + (body if whole else body[:-1000]))
        time.sleep(seconds)
    assert not cycles(server)
