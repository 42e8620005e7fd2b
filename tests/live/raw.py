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
        head = (
            f"POST /score HTTP/1.1\r\nHost: {self._url.host}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        self._writer.write(head.encode() + body)
        answered = (await self._reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = re.search(r"content-length: (\d+)", answered)
        assert length, answered
        content = await self._reader.readexactly(int(length[1]))
        assert answered.startswith("http/1.1 200"), content
        return orjson.loads(content)
