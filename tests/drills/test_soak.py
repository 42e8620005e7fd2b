"""The demo model under mixed traffic for an hour: nothing grows, and every request is answered as the first time."""

import asyncio
import statistics
import time
from collections import Counter
from collections.abc import Sequence

import httpx
import pytest

from tests.drills.mixed import meaning, request, same
from tests.drills.traffic import MIB, Vitals, metric, paced, vitals

pytestmark = pytest.mark.anyio

# Small, so that they are full, and turn over, long before the first quarter ends.
CACHES = ("--prepared-cache-bytes", "2000000", "--feature-bank-bytes", "1000000")
DIFFERENT = 450  # requests; then they come again
REQUESTS_OF_A_RUN = 30  # runs come and go, as many as a year of training has


class Soak:
    def __init__(self, url: str) -> None:
        limits = httpx.Limits(max_connections=16, keepalive_expiry=60)
        self._client = httpx.AsyncClient(base_url=url, timeout=60, limits=limits)
        self._tolerance = 0.0
        self._first: dict[int, object] = {}
        self._numbers = iter(range(10**9))
        self.statuses: Counter[int] = Counter()
        self.wrong: list[object] = []

    async def begin(self) -> None:
        self._tolerance = (await self._client.get("/info")).json()["model"]["reward_tolerance"]

    async def ask(self) -> None:
        number = next(self._numbers)
        asked = request(number % DIFFERENT)
        headers = {"X-Run": f"run-{number // REQUESTS_OF_A_RUN}"}
        if number % 10 == 0:
            headers["Connection"] = "close"
        own = asked.content.get("headers", {})
        answer = await self._client.post(asked.path, **asked.content | {"headers": own | headers})
        self.statuses[answer.status_code] += 1
        said = meaning(answer)
        if not same(self._first.setdefault(number % DIFFERENT, said), said, self._tolerance):
            self.wrong.append((asked.path, self._first[number % DIFFERENT], said))

    async def close(self) -> None:
        await self._client.aclose()


@pytest.mark.parametrize("demo", [CACHES], indirect=True)
async def test_soak(demo, note, full):
    """RSS within 5 %, threads and files as many, in the last quarter as in the second."""
    seconds, rate, every_s = (3600, 2, 10) if full else (20, 12, 0.5)
    soak = Soak(demo.url)
    await soak.begin()
    traffic = asyncio.ensure_future(paced(rate, seconds, soak.ask))
    cpu_s, begun = metric(demo, "process_cpu_seconds_total", prefix=""), time.monotonic()
    seen = []
    while not traffic.done():
        seen.append(vitals(demo))
        await asyncio.wait({traffic}, timeout=every_s)
    await traffic
    busy = (metric(demo, "process_cpu_seconds_total", prefix="") - cpu_s) / (
        time.monotonic() - begun
    )
    await soak.close()
    quarter = len(seen) // 4
    second, last = _median(seen[quarter : 2 * quarter]), _median(seen[3 * quarter :])
    note(
        minutes=round(seconds / 60, 1),
        requests=soak.statuses.total(),
        statuses=dict(soak.statuses),
        wrong=len(soak.wrong),
        cores_busy=round(busy, 2),
        second_quarter=_said(second),
        last_quarter=_said(last),
        peak_rss_mib=round(max(one.rss_bytes for one in seen) / MIB, 1),
    )
    assert soak.wrong == []
    assert set(soak.statuses) == {200, 400, 422}
    assert last.rss_bytes / second.rss_bytes - 1 < (0.05 if full else 0.15)
    assert last.threads <= second.threads + (0 if full else 4)
    assert last.files <= second.files + (2 if full else 8)


def _median(seen: Sequence[Vitals]) -> Vitals:
    return Vitals(
        *(
            int(statistics.median(getattr(one, field) for one in seen))
            for field in ("rss_bytes", "threads", "files")
        )
    )


def _said(one: Vitals) -> dict[str, float]:
    return {
        "rss_mib": round(one.rss_bytes / MIB, 1),
        "threads": one.threads,
        "files": one.files,
    }
