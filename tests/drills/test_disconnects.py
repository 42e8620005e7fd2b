"""Thousands of callers who hang up anywhere: nothing of them stays, and those beside them are answered right."""

import asyncio
import json
import random
import socket
import struct
from collections import Counter
from collections.abc import Callable
from itertools import count

import pytest

from tests.drills.traffic import MIB, Callers, calling, metric, vitals, wait_for
from tests.drills.wire import connect, port_of, request
from tests.inputs.pictures import png

pytestmark = pytest.mark.anyio

AT_ONCE = 50
PLACES = ("connected", "head", "body", "waiting", "answer")
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close with RST, whatever is still to be sent
BOUNDARY = "a-picture-follows"
PICTURES = [png(60, 60, seed) for seed in range(20)]


async def test_random_disconnects(faulty, note, full):
    """In flight and queue back to 0; files, threads and memory as before."""
    disconnects = 10_000 if full else 1_000
    # What ended by RST is kept for as long as an idle connection would be.
    flags = {"--max-batch-responses": 256, "--access-log-sample": 0, "--keep-alive-s": 2}
    server = faulty(*(str(word) for pair in flags.items() for word in pair))
    server.tell("steps_s 0.02")
    # The first ones are for what grows once: thread pools (6 and 2 here), and the memory of a burst.
    await _storm(server.url, 300)
    await _idle(server)
    before = vitals(server)
    async with calling(server.url, 4) as good:
        places = await _storm(server.url, disconnects)
    await _idle(server)
    # Memory: an idle server gives back a burst's within 10 s; a tenth is what the allocator keeps.
    await _comes(lambda: vitals(server).rss_bytes < 1.1 * before.rss_bytes)
    await _comes(lambda: vitals(server).files <= before.files)
    after = vitals(server)
    note(
        disconnects=places.total(),
        by_place=dict(places),
        good_scored=good.tally.scored,
        good_lost=good.tally.lost,
        files=[before.files, after.files],
        threads=[before.threads, after.threads],
        rss_mib=[round(one.rss_bytes / MIB, 1) for one in (before, after)],
    )
    assert set(good.tally.outcomes) == {"200"}
    assert after.threads <= before.threads + 4  # pools grow to their bound when they first have to
    last = Callers(server.url)
    await last.ask()
    await last.close()
    assert last.tally.scored == 1


async def _comes(condition: Callable[[], bool]) -> None:
    await asyncio.to_thread(wait_for, condition, 30)


async def _idle(server) -> None:
    for line in ("inflight_requests", "queue_depth", "running_items"):
        await _comes(lambda line=line: metric(server, line) == 0)


async def _storm(url: str, disconnects: int) -> Counter[str]:
    """So many, some at once; where they hung up."""
    rng, numbers, places = random.Random(7), count(), Counter()

    async def some() -> None:
        while (number := next(numbers)) < disconnects:
            place = rng.choice(PLACES)
            await _vanish(port_of(url), place, _sent(rng, number), rng)
            places[place] += 1

    await asyncio.gather(*(some() for _ in range(AT_ONCE)))
    return places


async def _vanish(port: int, place: str, sent: bytes, rng: random.Random) -> None:
    head = sent.index(b"\r\n\r\n") + 4
    cut = {"connected": 0, "head": rng.randrange(1, head), "body": rng.randrange(head, len(sent))}
    reader, writer = await connect(port)
    writer.write(sent[: cut.get(place, len(sent))])
    if place == "answer":
        await reader.read(rng.randint(1, 100))
    else:
        await asyncio.sleep(rng.choice((0, 0.01, 0.05)))
    if rng.random() < 0.5:
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        writer.transport.abort()
    else:
        writer.close()


def _sent(rng: random.Random, number: int) -> bytes:
    """A request of one of four kinds: single, large answer, form with a picture, and one that is refused."""
    kind = rng.randrange(4)
    item = {"prompt": f"Is it {number}?", "response": "Yes."}
    if kind == 1:
        item = {"prompt": f"Is it {number}?", "responses": [f"It is {i}." for i in range(200)]}
    if kind == 2:
        parts = {"request": json.dumps(item | {"image": {"ref": "p"}}).encode()}
        return _form(parts | {"p": rng.choice(PICTURES)})
    body = json.dumps(item).encode()
    return request("/score", body[: -1 if kind == 3 else None])


def _form(parts: dict[str, bytes]) -> bytes:
    body = b"".join(
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n'.encode()
        + data
        + b"\r\n"
        for name, data in parts.items()
    )
    kind = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    return request("/score", body + f"--{BOUNDARY}--\r\n".encode(), kind)
