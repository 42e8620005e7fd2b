"""The load generator: bursts and Poisson arrivals over plain sockets; it knows neither systems nor statistics."""

import asyncio
import itertools
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

TIMEOUT_S = 3600.0


@dataclass(frozen=True, slots=True)
class Load:
    """What one run of traffic took; times are seconds. Bodies are in the order of the requests."""

    bodies: list[bytes] = field(repr=False)
    latencies_s: list[float]
    makespan_s: float  # first byte sent to last answer read
    tail_s: float  # last request sent to last answer read
    client_cpu_s: float


class Refused(Exception):
    """A server answered with something else than 200."""


def request_bytes(url: str, body: bytes) -> bytes:
    parts = urlsplit(url)
    head = (
        f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body


def at_once(count: int) -> list[float]:
    """Arrival times of a burst."""
    return [0.0] * count


def poisson(count: int, rate_per_s: float, seed: int) -> list[float]:
    """Arrival times of an open loop: at random at a mean rate, whether or not others are answered."""
    gaps = random.Random(seed)
    return list(itertools.accumulate(gaps.expovariate(rate_per_s) for _ in range(count)))


def send(url: str, bodies: Sequence[bytes], arrivals_s: Sequence[float]) -> Load:
    """Each request at its time, on a connection of its own; until the last is answered.

    Raises:
        Refused: an answer's status is not 200.
    """
    return asyncio.run(_send(url, bodies, arrivals_s))


async def _send(url: str, bodies: Sequence[bytes], arrivals_s: Sequence[float]) -> Load:
    requests = [request_bytes(url, body) for body in bodies]  # made before the clock starts
    where = urlsplit(url)
    cpu, begin = time.process_time(), time.perf_counter()

    async def one(request: bytes, arrival_s: float) -> tuple[float, float, bytes, float]:
        due = begin + arrival_s
        if arrival_s:
            await asyncio.sleep(due - time.perf_counter())
        sent, body = await _post(where.hostname or "", where.port or 80, request)
        return due, sent, body, time.perf_counter()

    done = await asyncio.gather(*map(one, requests, arrivals_s))
    end = max(answered for *_, answered in done)
    return Load(
        bodies=[body for _, _, body, _ in done],
        latencies_s=[answered - due for due, _, _, answered in done],
        makespan_s=end - begin,
        tail_s=end - max(sent for _, sent, _, _ in done),
        client_cpu_s=time.process_time() - cpu,
    )


async def _post(host: str, port: int, request: bytes) -> tuple[float, bytes]:
    """When the request was written out, and the answer's body.

    Raises:
        Refused: the answer's status is not 200.
    """
    async with asyncio.timeout(TIMEOUT_S):
        reader, writer = await asyncio.open_connection(host, port)
        try:
            writer.write(request)
            await writer.drain()
            sent = time.perf_counter()
            return sent, _body(await reader.read())
        finally:
            writer.close()


def _body(answer: bytes) -> bytes:
    head, _, body = answer.partition(b"\r\n\r\n")
    if b" 200 " not in head.split(b"\r\n", 1)[0]:
        raise Refused(answer[:500].decode("utf-8", "replace"))
    return _joined(body) if b"transfer-encoding: chunked" in head.lower() else body


def _joined(chunked: bytes) -> bytes:
    """The pieces of a chunked body."""
    pieces = []
    while chunked:
        size, _, rest = chunked.partition(b"\r\n")
        length = int(size, 16)
        pieces.append(rest[:length])
        chunked = rest[length + 2 :] if length else b""
    return b"".join(pieces)
