"""Heads are bounded, upgrades ignored, and what is malformed is refused in its turn, whatever pieces it comes in."""

import inspect

import pytest
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import Server

from tests.commands.house import REQUEST, House

pytestmark = pytest.mark.anyio

LIMIT = 64 * 2**10
GET = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
OFFERS = {
    "h2c": b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n",
    "websocket": b"Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n",
    "other": b"Upgrade: TLS/1.0, foo\r\nConnection: upgrade\r\n",
}
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n2\r\nbo\r\n2\r\ndy\r\n0\r\n\r\n"
LENGTH = b"Content-Length: 4\r\n\r\nbody"


def sent(house: House, *pieces: bytes):
    protocol, transport = house.connect()
    for piece in pieces:
        protocol.data_received(piece)
        protocol._begin()  # its turn
    return protocol, transport


def refusals(house: House) -> list[str | None]:
    found = [scope["state"].get("refusal") for scope in house.scopes]
    return [error and error.code for error in found]


@pytest.mark.parametrize("offer", OFFERS.values(), ids=OFFERS)
@pytest.mark.parametrize("framed", [LENGTH, CHUNKED], ids=["length", "chunked"])
@pytest.mark.parametrize("size", [10_000, 7, 1])
async def test_an_upgrade_is_ignored_and_what_follows_is_answered(offer, framed, size):
    house = House(at_once=100)
    data = (b"POST /score HTTP/1.1\r\nHost: x\r\n" + offer + framed) * 2 + REQUEST
    protocol, transport = house.connect()
    for start in range(0, len(data), size):
        protocol.data_received(data[start : start + size])
        await house.rounds(2)
    await house.rounds(20)
    assert house.bodies == [b"body"] * 3
    assert not transport.close.called
    assert all(name != b"upgrade" for name, _ in house.scopes[0]["headers"])
    assert refusals(house) == [None] * 3


@pytest.mark.parametrize(
    ("head", "allowed"),
    [
        (b"GET /" + b"a" * (LIMIT - 200) + b" HTTP/1.1\r\nHost: x\r\n\r\n", True),
        (b"GET /" + b"a" * LIMIT, False),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX-A: " + b"a" * LIMIT, False),
        (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"a: b\r\n" * (LIMIT // 6), False),
        (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"a: b\r\n" * (LIMIT // 6 - 20) + b"\r\n", True),
        (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"a: b\r\n" * LIMIT + b"\r\n", False),
    ],
)
@pytest.mark.parametrize("size", [2**20, 1000])
@pytest.mark.parametrize("before", [b"", GET], ids=["first", "pipelined"])
async def test_a_head_is_bounded(head, allowed, size, before):
    house = House(at_once=100)
    protocol, transport = house.connect()
    data = before + head
    for start in range(0, len(data), size):
        protocol.data_received(data[start : start + size])
        await house.rounds(2)
    for _ in range(3):  # behind another request, what goes on coming is counted by pieces
        if not allowed and before:
            protocol.data_received(b"b" * 32 * 2**10)
        await house.rounds(4)
    expected = [None] * bool(before) + [None if allowed else "headers_too_large"]
    assert refusals(house) == expected
    assert transport.close.called is not allowed


@pytest.mark.parametrize(
    "rest",
    [
        b"0\r\nX-A: " + b"a" * LIMIT,
        b"0\r\n" + b"a: b\r\n" * (LIMIT // 6 + 1),
        b"1;a=" + b"a" * LIMIT,
        b"0\r\n" + b"a: b\r\n" * LIMIT + b"\r\n",
    ],
)
async def test_trailers_and_chunk_extensions_are_bounded(rest):
    house = House(at_once=100)
    protocol, transport = house.connect()
    head = b"POST /score HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    protocol.data_received(head + b"4\r\nbody\r\n")
    await house.rounds(3)
    for start in range(0, len(rest), 1000):
        protocol.data_received(rest[start : start + 1000])
    await house.rounds(3)
    assert refusals(house) == ["headers_too_large"]
    assert "trailers" in house.scopes[0]["state"]["refusal"].message
    assert transport.close.called


async def test_a_trailer_is_no_header():
    house = House(at_once=100)
    sent(
        house,
        REQUEST.replace(LENGTH, CHUNKED[:-2] + b"Authorization: Bearer k\r\nX-Run: r\r\n\r\n"),
    )
    await house.rounds(5)
    assert house.bodies == [b"body"]
    assert {name for name, _ in house.scopes[0]["headers"]} == {b"host", b"transfer-encoding"}


@pytest.mark.parametrize(
    "bad",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
        b"GET / HTTP/1.0\r\nHost: x\r\nHost: y\r\n\r\n",
        b"GET / HTTP/2.0\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : x\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"CONNECT x:80 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01",
    ],
)
async def test_what_is_malformed_is_refused_after_the_requests_before_it(bad):
    house = House(at_once=100)
    _, transport = sent(house, REQUEST + bad + REQUEST)
    await house.rounds(10)
    assert refusals(house) == [None, "malformed_request"]
    assert house.bodies[0] == b"body"
    transport.close.assert_called_once()


async def test_an_old_client_may_leave_out_the_host():
    house = House(at_once=100)
    sent(house, b"GET / HTTP/1.0\r\n\r\n")
    await house.rounds(5)
    assert refusals(house) == [None]


async def test_a_body_that_turns_out_malformed_refuses_its_request():
    house = House(at_once=100)
    head = b"POST /score HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    protocol, transport = sent(house, head + b"4\r\nbody\r\n")
    await house.rounds(5)
    protocol.data_received(b"zz\r\n")
    await house.rounds(5)
    assert refusals(house) == ["malformed_request"]
    assert transport.close.called


def test_uvicorns_private_methods_are_what_is_built_on():
    """A release that moves one of these needs `Http1`, `Protocol` and `Server` looked at; then raise the cap."""
    expected = {
        "connection_made": ["transport"],
        "connection_lost": ["exc"],
        "data_received": ["data"],
        "on_message_begin": [],
        "on_url": ["url"],
        "on_header": ["name", "value"],
        "on_headers_complete": [],
        "on_body": ["body"],
        "on_message_complete": [],
        "on_response_complete": [],
        "shutdown": [],
        "pause_writing": [],
        "resume_writing": [],
        "timeout_keep_alive_handler": [],
        "_unset_keepalive_if_required": [],
        "_start_asgi_task": ["cycle", "app"],
    }
    found = {name: _parameters(getattr(HttpToolsProtocol, name)) for name in expected}
    assert found == expected
    of_cycle = inspect.signature(RequestResponseCycle.__init__).parameters
    assert {"scope", "flow", "message_event", "keep_alive", "on_response"} <= set(of_cycle)
    of_server = {"startup": ["sockets"], "shutdown": ["sockets"], "on_tick": ["counter"]}
    assert {name: _parameters(getattr(Server, name)) for name in of_server} == of_server
    assert _parameters(Server.handle_exit) == ["sig", "frame"]


async def test_uvicorns_state_is_what_is_built_on():
    protocol, _ = sent(House(at_once=1), REQUEST)
    for name in ("parser", "cycle", "scope", "headers", "url", "flow", "transport", "loop"):
        assert hasattr(protocol, name), name
    for name in ("body", "more_body", "keep_alive", "response_complete", "message_event", "scope"):
        assert hasattr(protocol.cycle, name), name


def _parameters(function) -> list[str]:
    return [name for name in inspect.signature(function).parameters if name != "self"]
