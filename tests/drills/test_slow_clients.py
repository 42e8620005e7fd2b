"""Hundreds of connections that send or read a byte at a time: the others hardly notice, and they are ended."""

import asyncio
import json
import random
import socket
import time

import pytest

from tests.drills.traffic import MIB, calling, metric, vitals, wait_for
from tests.drills.wire import Streams, answer, connect, port_of, request
from tests.models import reward

pytestmark = pytest.mark.anyio

BODY_TIMEOUT_S = 2.0
DEADLINE_S = 5.0
HEAD = b"POST /score HTTP/1.1\r\nHost: drill\r\n"
RESPONSES = [f"It is {i}." for i in range(4000)]
# What is sent at once, what then follows byte by byte, and the seconds between two bytes.
KINDS = {
    "says_nothing": (b"", b"", 1.0),
    "slow_head": (HEAD, b"X-Slow: " + b"a" * 1000, 1.0),
    "slower_body": (request("/score", b" " * 1000)[:-1000], b" " * 1000, 1.5 * BODY_TIMEOUT_S),
    "slow_body": (
        request("/score", b" " * 1000, {"X-Request-Timeout-S": str(DEADLINE_S)})[:-1000],
        b" " * 1000,
        0.25 * BODY_TIMEOUT_S,
    ),
}

TOLD = {"slower_body": "body_too_slow", "slow_body": "deadline_exceeded"}


@pytest.fixture
def server(faulty):
    flags = {
        "--body-timeout-s": BODY_TIMEOUT_S,
        "--min-body-rate-bytes": 1,  # so that a deadline ends bodies, too
        "--keep-alive-s": 4,
        "--max-queued-responses": 2_000_000,
        "--access-log-sample": 0,
    }
    return faulty(*(str(word) for pair in flags.items() for word in pair))


@pytest.mark.parametrize(
    "kind",
    [
        "says_nothing",
        "slow_head",
        "slower_body",
        "slow_body",
    ],
)
async def test_slow_senders(server, note, full, kind):
    """Each is ended by the server, told why where it has sent a whole head, and its file is given back."""
    count, seconds = (400, 30) if full else (200, 10)
    async with calling(server.url, 4) as good:
        await asyncio.sleep(3)
        alone_ms, before = good.tally.quantile_ms(0.99), vitals(server)
        good.tally.latencies_s.clear()
        ends = await asyncio.gather(
            *(_trickle(port_of(server.url), KINDS[kind], seconds) for _ in range(count))
        )
        beside_ms = good.tally.quantile_ms(0.99)
        ended = [end for end in ends if end is not None]
        note(
            slow=count,
            ended=len(ended),
            ended_after_s=round(max(s for s, _ in ended), 1) if ended else None,
            told=sorted({code for _, code in ended}),
            others_p99_ms_alone=alone_ms,
            others_p99_ms_beside=beside_ms,
            others_scored=good.tally.scored,
        )
        assert set(good.tally.outcomes) == {"200"}
        assert beside_ms < 3 * alone_ms + 50
        assert len(ended) == count
        await _comes(lambda: vitals(server).files <= before.files)
    if kind in TOLD:
        assert {code for _, code in ended} == {TOLD[kind]}


async def test_slow_readers(server, note, full):
    """Answers of 4,000 rewards, read a little a second: nothing waits for it in the server, and they are right."""
    count, seconds = (300, 20) if full else (60, 6)
    before = vitals(server)
    async with calling(server.url, 4) as good:
        await asyncio.sleep(3)
        alone_ms = good.tally.quantile_ms(0.99)
        readers = [
            asyncio.ensure_future(_read_slowly(port_of(server.url), seconds)) for _ in range(count)
        ]
        scored_all = 'items_total{outcome="scored"}'
        await _comes(lambda: metric(server, scored_all) >= count * len(RESPONSES))
        await _comes(lambda: metric(server, "inflight_requests") <= 4)
        good.tally.latencies_s.clear()
        reading = vitals(server)
        answers = await asyncio.gather(*readers)
        beside_ms = good.tally.quantile_ms(0.99)
    expected = [reward("How much?", response) for response in RESPONSES]
    wrong = sum(body["rewards"] != [expected] for body in answers)
    await _comes(lambda: vitals(server).files <= before.files + 1)
    note(
        slow=count,
        wrong=wrong,
        rss_mib_a_reader=round((reading.rss_bytes - before.rss_bytes) / MIB / count, 2),
        others_p99_ms_alone=alone_ms,
        others_p99_ms_beside=beside_ms,
    )
    assert set(good.tally.outcomes) == {"200"}
    assert wrong == 0
    assert beside_ms < 3 * alone_ms + 50


async def _comes(condition) -> None:
    await asyncio.to_thread(wait_for, condition, 60)


async def _trickle(
    port: int, kind: tuple[bytes, bytes, float], seconds: float
) -> tuple[float, str] | None:
    """When the server ended it, and the code it gave; None: it had not, after so many seconds."""
    at_once, rest, pause_s = kind
    await asyncio.sleep(random.uniform(0, 2))
    begun = time.monotonic()
    streams = await connect(port)
    streams[1].write(at_once)
    told = asyncio.ensure_future(_told(streams))
    for n in range(len(rest) + 1000):
        left_s = begun + seconds - time.monotonic()
        await asyncio.wait({told}, timeout=max(0.0, min(pause_s, left_s)))
        if told.done() or left_s <= 0:
            break
        streams[1].write(rest[n : n + 1])
    ended = (time.monotonic() - begun, await told) if told.done() else None
    told.cancel()
    streams[1].transport.abort()
    return ended


async def _told(streams: Streams) -> str:
    try:
        return (await answer(streams[0])).json()["error"]["code"]
    except (OSError, EOFError):
        return "closed"


async def _read_slowly(port: int, seconds: int) -> dict:
    """256 bytes a second, with a small window; the rest at last."""
    link = socket.socket()
    link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    link.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(link, ("127.0.0.1", port))
    body = json.dumps({"items": [{"prompt": "How much?", "responses": RESPONSES}]}).encode()
    await loop.sock_sendall(link, request("/score", body, {"Connection": "close"}))
    read = b""
    for _ in range(seconds):
        read += await loop.sock_recv(link, 256)
        await asyncio.sleep(1)
    while more := await loop.sock_recv(link, 65536):
        read += more
    link.close()
    return json.loads(read.partition(b"\r\n\r\n")[2])
