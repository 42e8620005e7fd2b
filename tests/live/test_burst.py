"""4,096 single requests at once: all answered right, the event loop as free as an idle one, and no memory kept."""

import asyncio
import random
import re
import resource
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import httpx
import orjson
import pytest

from tests.live.conftest import serving
from tests.live.raw import RawClient

pytestmark = pytest.mark.anyio

REQUESTS = 4096
COLOURS = ("red", "blue", "green", "yellow", "purple", "orange")
MOST_BURSTS = 5  # a machine that has something else to do spoils the lag of one, not of all
QUIET_READS = 30  # of equal size, 0.2 s apart: longer than the server takes to see that it is idle
INFLIGHT = r"^basereward_inflight_requests (\S+)$"
LAG = r'^basereward_event_loop_lag_seconds_bucket\{le="([^"]+)"\} (\S+)$'

# A loop that does nothing but measure as the server does, in a process of its own, until its input ends.
IDLE_LOOP = """
import asyncio, json, sys, threading
from service.engine.lag import measure_lag
late, ended = [], threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
async def main():
    task = asyncio.ensure_future(measure_lag(late.append))
    print("measuring", flush=True)
    while not ended.is_set():
        await asyncio.sleep(0.05)
    task.cancel()
asyncio.run(main())
print(json.dumps(late))
"""


class IdleLoop:
    def __init__(self, process: subprocess.Popen) -> None:
        self._process = process

    def late_s(self) -> list[float]:
        """Every lag so far; it ends with that."""
        out, _ = self._process.communicate("", timeout=60)
        return orjson.loads(out.splitlines()[-1])


@contextmanager
def idle_loop():
    with subprocess.Popen(
        [sys.executable, "-c", IDLE_LOOP], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "measuring\n"
        yield IdleLoop(process)


def lag_buckets(text: str) -> dict[float, float]:
    return {float(le): float(count) for le, count in re.findall(LAG, text, re.MULTILINE)}


def p99_s(counts: dict[float, float]) -> float:
    """As Prometheus' `histogram_quantile`: straight through the bucket it falls into."""
    rank, lower, below = 0.99 * counts[float("inf")], 0.0, 0.0
    for upper, count in counts.items():
        if count >= rank:
            assert upper < float("inf"), counts
            return lower + (upper - lower) * (rank - below) / (count - below)
        lower, below = upper, count
    raise AssertionError(counts)


async def lag_of(client: httpx.AsyncClient) -> dict[float, float]:
    return lag_buckets((await client.get("/metrics")).text)


def rss_bytes(server) -> int:
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) * 1024


async def settled_bytes(server) -> int:
    """What is kept: read when the idle server has given back what it does not need."""
    sizes = [rss_bytes(server)]
    while len(sizes) < QUIET_READS or len(set(sizes[-QUIET_READS:])) > 1:
        await asyncio.sleep(0.2)
        sizes.append(rss_bytes(server))
    return sizes[-1]


def make_item(number: int) -> dict:
    rng = random.Random(number)
    words = [rng.choice(COLOURS) for _ in range(rng.randint(1, 6))]
    return {
        "prompt": f"What is {' and '.join(words)}?",
        "response": f"It is {rng.choice(COLOURS)}.",
    }


async def all_in_flight(client: httpx.AsyncClient, items: list[dict]) -> None:
    """Every request begun before any is complete: no burst can have more in flight, and need more memory."""
    bodies = [orjson.dumps(item) for item in items]
    async with AsyncExitStack() as stack:
        raw = [await stack.enter_async_context(RawClient(client.base_url)) for _ in bodies]
        for one, body in zip(raw, bodies, strict=True):
            one.begin(body[:-1], missing=1)
        while True:
            text = (await client.get("/metrics")).text
            if float(re.search(INFLIGHT, text, re.MULTILINE)[1]) >= len(bodies):
                break
            await asyncio.sleep(0.1)
        await asyncio.gather(
            *(one.finish(body[-1:]) for one, body in zip(raw, bodies, strict=True))
        )


async def burst(url: httpx.URL, items: list[dict]) -> list[float]:
    async def one(body: bytes) -> float:
        async with RawClient(url) as http:
            return (await http.score(body))["reward"]

    return await asyncio.gather(*(one(orjson.dumps(item)) for item in items))


@pytest.fixture
def descriptors():
    """Enough for as many connections, here and, inherited, in the server."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = REQUESTS + 512
    if hard != resource.RLIM_INFINITY and hard < wanted:
        pytest.skip(f"{hard} file descriptors a process")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class Burst(NamedTuple):
    rewards: list[float]
    lag_s: float  # 99th percentile of the server's event loop
    idle_lag_s: float  # of an idle loop, beside the same load
    rss_bytes: int  # afterwards


async def measured(server, client: httpx.AsyncClient, items: list[dict]) -> Burst:
    lags = Counter(await lag_of(client))
    with idle_loop() as idle:
        rewards = await burst(client.base_url, items)
        late_s = sorted(idle.late_s())
    after = Counter(await lag_of(client))
    after.subtract(lags)
    idle_lag_s = late_s[int(len(late_s) * 0.99)]
    done = Burst(rewards, p99_s(after), idle_lag_s, await settled_bytes(server))
    print(  # noqa: T201
        f"\nloop lag p99 {done.lag_s * 1000:.1f} ms, of an idle loop beside it "
        f"{done.idle_lag_s * 1000:.1f} ms; RSS {done.rss_bytes / 2**20:.0f} MiB"
    )
    return done


@pytest.fixture
def is_free(request) -> Callable[[Burst], bool]:
    """Held for a step, the loop is late by tens of idle lags; how near to one it comes, only a quiet machine shows."""
    ratio = request.config.getoption("--lag-ratio")
    return lambda one: one.lag_s <= ratio * one.idle_lag_s


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")
async def test_a_burst_is_answered_right_without_holding_the_loop_or_keeping_memory(
    descriptors, is_free
):
    items = [make_item(number) for number in range(REQUESTS)]
    with serving() as server:
        async with httpx.AsyncClient(base_url=server.ready().url, timeout=300) as client:
            known = (await client.post("/score", json={"items": items})).json()["rewards"]
            await all_in_flight(client, items)
            bursts = [await measured(server, client, items) for _ in range(2)]
            while not any(map(is_free, bursts)) and len(bursts) < MOST_BURSTS:
                bursts.append(await measured(server, client, items))
    for one in bursts:
        assert one.rewards == pytest.approx(known, abs=1e-4)
    assert any(map(is_free, bursts))
    assert bursts[1].rss_bytes / bursts[0].rss_bytes - 1 < 0.02
