"""4,096 single requests at once: all answered right, the event loop as free as an idle one, and no memory kept."""

import asyncio
import random
import re
import resource
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import httpx
import orjson
import pytest

from tests.live.conftest import serving
from tests.live.raw import RawClient

pytestmark = pytest.mark.anyio

REQUESTS = 4096
COLOURS = ("red", "blue", "green", "yellow", "purple", "orange")
QUIET_READS = 30  # of equal size, 0.2 s apart: longer than the server takes to see that it is idle
FEW_MS = 5.0  # an idle loop on an idle machine is late by less than a bucket can tell
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
print(json.dumps(sorted(late)))
"""


class IdleLoop:
    def __init__(self, process: subprocess.Popen) -> None:
        self._process = process

    def p99_s(self) -> float:
        out, _ = self._process.communicate("", timeout=60)
        late = orjson.loads(out.splitlines()[-1])
        return late[int(len(late) * 0.99)]


@contextmanager
def idle_loop():
    with subprocess.Popen(
        [sys.executable, "-c", IDLE_LOOP], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "measuring\n"
        yield IdleLoop(process)


def lag_buckets(text: str) -> dict[float, float]:
    return {float(le): float(count) for le, count in re.findall(LAG, text, re.MULTILINE)}


def p99_s(before: dict[float, float], after: dict[float, float]) -> float:
    """Between the scrapes, by the middle of its bucket: the buckets are coarser than what is compared."""
    total = after[float("inf")] - before[float("inf")]
    lower = 0.0
    for upper, count in after.items():
        if count - before[upper] >= 0.99 * total:
            return (lower + min(upper, 2 * lower)) / 2
        lower = upper
    raise AssertionError(after)


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


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")
async def test_a_burst_is_answered_right_without_holding_the_loop_or_keeping_memory(descriptors):
    items = [make_item(number) for number in range(REQUESTS)]
    with serving() as server:
        url = httpx.URL(server.ready().url)
        async with httpx.AsyncClient(base_url=url, timeout=300) as client:
            known = (await client.post("/score", json={"items": items})).json()["rewards"]
            before = lag_buckets((await client.get("/metrics")).text)
            answers, sizes = [], []
            with idle_loop() as idle:
                for _ in range(2):
                    answers.append(await burst(url, items))
                    sizes.append(await settled_bytes(server))
                beside = idle.p99_s()
            after = lag_buckets((await client.get("/metrics")).text)
    lag = p99_s(before, after)
    grown = sizes[1] / sizes[0] - 1
    print(  # noqa: T201
        f"\nloop lag p99 {lag * 1000:.1f} ms, of an idle loop beside it {beside * 1000:.1f} ms; "
        f"RSS {sizes[0] / 2**20:.0f} MiB, second burst {grown:+.1%}"
    )
    for got in answers:
        assert got == pytest.approx(known, abs=1e-4)
    assert lag <= 3 * max(beside, FEW_MS / 1000)
    assert grown < 0.02
