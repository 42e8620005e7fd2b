"""The same behind a real server and real sockets: stalls, half-closed connections, hang-ups, early refusals."""

import json

import anyio
import httpx
import pytest

from service.app import create_app
from service.settings import Settings
from tests.api.serving import GOOD, error_of, listening, response_staged, step_entered, until
from tests.models import StandIn, reward

pytestmark = pytest.mark.anyio

BODY = json.dumps(GOOD).encode()


def request(body: bytes = b"", length: int | None = None, **headers: str) -> bytes:
    """A request as bytes, with whatever length it claims."""
    stated = {"Host": "server", "Content-Type": "application/json"} | {
        k.replace("_", "-"): v for k, v in headers.items()
    }
    if "Transfer-Encoding" not in stated:
        stated["Content-Length"] = str(len(body) if length is None else length)
    head = "".join(f"{k}: {v}\r\n" for k, v in stated.items())
    return f"POST /score HTTP/1.1\r\n{head}\r\n".encode() + body


async def answer_on(stream) -> httpx.Response:
    """One whole answer, read from the socket."""
    data = b""
    with anyio.fail_after(10):
        while b"\r\n\r\n" not in data:
            data += await stream.receive()
        head, _, body = data.partition(b"\r\n\r\n")
        status, *lines = head.decode().split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines)
        headers = {k.lower(): v for k, v in headers.items()}
        while len(body) < int(headers["content-length"]):
            body += await stream.receive()
    return httpx.Response(int(status.split()[1]), headers=headers, content=body)


async def closed_by_server(stream) -> None:
    with anyio.fail_after(10):
        async for _ in stream:
            pass


async def still_scores(port):
    async with await anyio.connect_tcp("127.0.0.1", port) as stream:
        await stream.send(request(BODY))
        answer = await answer_on(stream)
    assert answer.status_code == 200, answer.text
    assert answer.json()["reward"] == reward(**GOOD)


async def metric(port, line):
    async with httpx.AsyncClient(trust_env=False) as client:
        text = (await client.get(f"http://127.0.0.1:{port}/metrics")).text
    return next(float(row.split()[-1]) for row in text.splitlines() if row.startswith(line + " "))


async def test_a_body_that_stops_half_way_is_408():
    app = create_app(Settings(body_timeout_s=0.2), StandIn())
    async with listening(app) as port:
        async with await anyio.connect_tcp("127.0.0.1", port) as stream:
            await stream.send(request(BODY[:20], length=len(BODY)))
            error_of(await answer_on(stream), 408, "body_too_slow")
        await still_scores(port)


async def test_a_half_closed_connection_leaves_the_server_fine():
    app = create_app(Settings(), StandIn())
    async with listening(app) as port:
        for _ in range(5):
            async with await anyio.connect_tcp("127.0.0.1", port) as stream:
                await stream.send(request(BODY[:20], length=len(BODY)))
                await stream.send_eof()
                await closed_by_server(stream)
        await still_scores(port)

        async def nobody_is_left():
            return await metric(port, "basereward_inflight_requests") == 1  # the scrape

        await until(nobody_is_left)


async def test_a_client_that_hangs_up_while_waiting_is_forgotten():
    model = StandIn()
    app = create_app(Settings(), model)
    async with listening(app) as port:
        model.hold()
        async with await anyio.connect_tcp("127.0.0.1", port) as first:
            await first.send(request(BODY))
            await step_entered(model)
            gone = json.dumps({"prompt": "p", "responses": ["gone 1", "gone 2"]}).encode()
            async with await anyio.connect_tcp("127.0.0.1", port) as second:
                await second.send(request(gone))
                await response_staged(model, "gone 2")

            async def cancelled():
                line = 'basereward_items_total{outcome="cancelled"}'
                return await metric(port, line) == 2

            await until(cancelled)
            model.release()
            assert (await answer_on(first)).json()["reward"] == reward(**GOOD)
        await still_scores(port)
    assert model.seen == [GOOD["response"]] * 2


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(request(length=2000), id="content-length"),
        pytest.param(
            request(Transfer_Encoding="chunked") + b"4b0\r\n" + b" " * 1200 + b"\r\n", id="chunked"
        ),
    ],
)
async def test_a_body_too_large_is_refused_before_it_is_sent(sent):
    async with listening(create_app(Settings(max_body_bytes=1000), StandIn())) as port:
        async with await anyio.connect_tcp("127.0.0.1", port) as stream:
            await stream.send(sent)
            answer = await answer_on(stream)
            error_of(answer, 413, "body_too_large")
            assert answer.headers["connection"] == "close"
            await closed_by_server(stream)  # the body unread
        await still_scores(port)


async def test_a_key_is_asked_for_before_the_body_is_sent():
    app = create_app(Settings(api_key="sesame"), StandIn())
    async with listening(app) as port, await anyio.connect_tcp("127.0.0.1", port) as stream:
        await stream.send(request(length=1_000_000))
        error_of(await answer_on(stream), 401, "unauthorized")


async def test_garbage_on_the_socket_leaves_the_server_fine():
    async with listening(create_app(Settings(), StandIn())) as port:
        for garbage in (b"\x16\x03\x01\x02\x00\x01\x00", b"GET\r\n\r\n", b"\0" * 100, b"\r\n" * 50):
            async with await anyio.connect_tcp("127.0.0.1", port) as stream:
                await stream.send(garbage)
        await still_scores(port)
