"""What stands in front of replicas: each request goes to one that is ready, by the fingerprint it asks for."""

import asyncio
import itertools
import re
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from tests.drills.traffic import probe
from tests.drills.wire import Streams, connect, port_of
from tests.live.conftest import ServerProcess

LOOK_S = 0.2
KEPT = re.compile(rb"connection: *keep-alive", re.IGNORECASE)
EXPECTED = re.compile(rb"x-expect-fingerprint: *(\S+)", re.IGNORECASE)


@dataclass(eq=False)
class Replica:
    server: ServerProcess
    fingerprint: str
    ready: bool = True


@dataclass
class Balancer:
    """
    Args:
        by_header: a request that asks for a fingerprint goes to one of its replicas, others to one of `default`;
            without it every request goes to any replica.
    """

    default: str = ""
    by_header: bool = False
    replicas: list[Replica] = field(default_factory=list)
    sent: Counter[str] = field(default_factory=Counter)  # requests, by fingerprint
    _turns: itertools.count = field(default_factory=itertools.count)

    async def look(self) -> None:
        """As a readiness probe does."""
        while True:
            for one in list(self.replicas):
                one.ready = await asyncio.to_thread(probe, one.server, "/readyz", 2.0) == 200
            await asyncio.sleep(LOOK_S)

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, EOFError):
            head = await reader.readuntil(b"\r\n\r\n")
            replica = self._choose(head)
            if replica is not None:
                self.sent[replica.fingerprint] += 1
                behind = await connect(port_of(replica.server.url))
                # One request a connection: so that each is sent by itself, as a gateway does.
                behind[1].write(KEPT.sub(b"Connection: close", head))
                await _join((reader, writer), behind)
        writer.close()

    def _choose(self, head: bytes) -> Replica | None:
        ready = [one for one in self.replicas if one.ready]
        if self.by_header:
            asked = EXPECTED.search(head)
            wanted = asked[1].decode() if asked else self.default
            ready = [one for one in ready if one.fingerprint == wanted]
        return ready[next(self._turns) % len(ready)] if ready else None


async def _join(front: Streams, behind: Streams) -> None:
    """Bytes either way, until one side ends."""
    ways = [
        asyncio.ensure_future(_copy(front[0], behind[1])),
        asyncio.ensure_future(_copy(behind[0], front[1])),
    ]
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        behind[1].close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()


@asynccontextmanager
async def balancing(balancer: Balancer) -> AsyncIterator[str]:
    """Its URL."""
    server = await asyncio.start_server(balancer.take, "127.0.0.1", 0)
    looking = asyncio.ensure_future(balancer.look())
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        looking.cancel()
        server.close()
