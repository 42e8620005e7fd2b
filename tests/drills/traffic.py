"""Callers and onlookers: requests with known answers, tallied by what became of them, and the process watched."""

import asyncio
import json
import ssl
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from tests.drills.wire import Connections
from tests.live.conftest import ServerProcess
from tests.models import reward

MIB = 2**20


@dataclass
class Tally:
    """What became of requests; a wrong reward raises at once."""

    outcomes: Counter[str] = field(
        default_factory=Counter
    )  # "200", an error code, a gateway's http_502, or an exception's name
    latencies_s: list[float] = field(default_factory=list)  # of those answered with rewards
    messages: Counter[str] = field(default_factory=Counter)  # of refusals
    told_when: int = 0  # refusals that say when to come again

    @property
    def scored(self) -> int:
        return self.outcomes["200"]

    @property
    def lost(self) -> int:
        """Neither a reward nor a readable refusal."""
        return sum(n for name, n in self.outcomes.items() if name[0].isupper())

    def quantile_ms(self, q: float) -> float:
        return round(1000 * float(np.quantile(self.latencies_s, q)), 1)


class Callers:
    """They have as many connections as they need; with `verify` over TLS."""

    def __init__(
        self, url: str, timeout_s: float = 60.0, verify: ssl.SSLContext | None = None
    ) -> None:
        self._connections = Connections(url, verify)
        self._timeout_s = timeout_s
        self._numbers = iter(range(10**9))
        self.tally = Tally()

    async def ask(self, headers: dict[str, str] | None = None) -> None:
        number = next(self._numbers)
        item = {"prompt": f"How much is {number // 4}?", "response": f"It is {number}."}
        begun = time.monotonic()
        try:
            async with asyncio.timeout(self._timeout_s):
                answer = await self._connections.post("/score", json.dumps(item).encode(), headers)
        except (OSError, EOFError) as error:
            self.tally.outcomes[type(error).__name__] += 1
            await asyncio.sleep(0.05)  # where nobody listens, a caller does not hammer
            return
        if answer.status == 200:
            assert answer.json()["reward"] == reward(**item)
            self.tally.outcomes["200"] += 1
            self.tally.latencies_s.append(time.monotonic() - begun)
            return
        if "json" not in answer.headers.get("content-type", ""):  # a gateway's own page
            self.tally.outcomes[f"http_{answer.status}"] += 1
            return
        error = answer.json()["error"]
        self.tally.outcomes[error["code"]] += 1
        self.tally.messages[error["message"]] += 1
        self.tally.told_when += "retry-after" in answer.headers

    async def closed_loop(
        self, callers: int, until: asyncio.Event, headers: dict[str, str] | None = None
    ) -> None:
        """So many who ask again as soon as they are answered."""

        async def one() -> None:
            while not until.is_set():
                await self.ask(headers)

        await asyncio.gather(*(one() for _ in range(callers)))

    async def open_loop(self, rate: float, seconds: float, headers: dict[str, str]) -> None:
        """So many a second, whether or not others are answered."""
        await paced(rate, seconds, lambda: self.ask(headers))

    async def close(self) -> None:
        self._connections.close()


async def paced(rate: float, seconds: float, ask: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """So many a second, whether or not others are answered; then the last are waited for."""
    begun, sent = time.monotonic(), 0
    under_way: set[asyncio.Future[None]] = set()
    while (now := time.monotonic() - begun) < seconds:
        for _ in range(int(rate * now) - sent):
            under_way.add(asyncio.ensure_future(ask()))
            sent += 1
        await asyncio.sleep(0.01)
        for done in [one for one in under_way if one.done()]:
            under_way.discard(done)
            done.result()
    await asyncio.gather(*under_way)


@dataclass(frozen=True)
class Vitals:
    rss_bytes: int
    threads: int
    files: int


def vitals(server: ServerProcess) -> Vitals:
    folder = Path(f"/proc/{server.process.pid}")
    fields = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines())
    rss = int(fields["VmRSS"].split()[0]) * 1024
    return Vitals(rss, int(fields["Threads"]), len(list((folder / "fd").iterdir())))


def ops_url(server: ServerProcess) -> str:
    return f"http://127.0.0.1:{server.logged('ops port')['port']}"


def probe(server: ServerProcess, path: str, timeout_s: float = 5.0) -> int:
    """The status; 0 if there was no answer."""
    try:
        return httpx.get(ops_url(server) + path, timeout=timeout_s).status_code
    except httpx.HTTPError:
        return 0


def metric(server: ServerProcess, line: str, prefix: str = "basereward_") -> float:
    text = httpx.get(ops_url(server) + "/metrics").text
    (value,) = [
        row.rpartition(" ")[2] for row in text.splitlines() if row.startswith(f"{prefix}{line} ")
    ]
    return float(value)


def wait_for(condition, within_s: float = 60.0) -> float:
    """How long it took."""
    begun = time.monotonic()
    while not condition():
        assert time.monotonic() - begun < within_s, "it did not come"
        time.sleep(0.02)
    return time.monotonic() - begun


@asynccontextmanager
async def calling(
    url: str, callers: int, timeout_s: float = 60.0, headers: dict[str, str] | None = None
) -> AsyncIterator[Callers]:
    """So many callers at work until the block ends; then the last are waited for."""
    crowd, until = Callers(url, timeout_s), asyncio.Event()
    loop = asyncio.ensure_future(crowd.closed_loop(callers, until, headers))
    try:
        yield crowd
    finally:
        until.set()
        await loop
        await crowd.close()
