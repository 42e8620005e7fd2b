"""HTTP/1.1 over one connection, and little else: the load must not be the bottleneck."""

import asyncio
import re

import httpx
import orjson


class RawClient:
    def __init__(self, url: httpx.URL) -> None:
        self._url = url

    async def __aenter__(self) -> "RawClient":
        self._reader, self._writer = await asyncio.open_connection(self._url.host, self._url.port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._writer.close()
        await self._writer.wait_closed()

    async def score(self, body: bytes) -> dict:
        self.begin(body)
        return await self.finish(b"")

    def begin(self, body: bytes, missing: int = 0) -> None:
        """Send all but the body's last bytes."""
        length = len(body) + missing
        head = f"POST /score HTTP/1.1\r\nHost: {self._url.host}\r\nContent-Length: {length}\r\n\r\n"
        self._writer.write(head.encode() + body)

    async def finish(self, rest: bytes) -> dict:
        """Send what is missing and read the answer."""
        self._writer.write(rest)
        answered = (await self._reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = re.search(r"content-length: (\d+)", answered)
        assert length, answered
        content = await self._reader.readexactly(int(length[1]))
        assert answered.startswith("http/1.1 200"), content
        return orjson.loads(content)
