"""HTTP/1.1 by hand: a caller that is not the bottleneck at hundreds of requests a second, and can behave badly."""

import asyncio
import contextlib
import json
import random
import select
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


def port_of(url: str) -> int:
    return int(url.rpartition(":")[2])


def free_port() -> int:
    """One that no outgoing connection is given either: a server that is down must find it free again."""
    for port in random.sample(range(20_000, 30_000), 100):
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise OSError("a hundred ports are taken")


def request(path: str, body: bytes, headers: Mapping[str, str] | None = None) -> bytes:
    fields = {"Host": "drill", "Content-Length": str(len(body)), **(headers or {})}
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"POST {path} HTTP/1.1\r\n{lines}\r\n".encode() + body


async def answer(reader: asyncio.StreamReader) -> Answer:
    """
    Raises:
        EOFError: the connection ended before it.
    """
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().lower().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines if line)
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Answer(int(first.split()[1]), headers, body)


class Connections:
    """As many as are needed at once; one that is free, and not closed by the other side, is used again.

    Over TLS, which is a gateway's, a request goes out again where a used connection ends without a byte of the answer,
    as with every client of HTTP: gateways close idle connections at any moment. The server itself is allowed none.
    """

    def __init__(self, url: str, tls: ssl.SSLContext | None = None) -> None:
        self._port = port_of(url)
        self._tls = tls
        self._idle: list[Streams] = []

    async def post(
        self, path: str, body: bytes, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """
        Raises:
            OSError, EOFError: there was no answer.
        """
        used, streams = await self._free()
        try:
            streams[1].write(request(path, body, headers))
            got = await answer(streams[0])
        except (ConnectionResetError, asyncio.IncompleteReadError) as error:
            streams[1].transport.abort()
            if self._tls and used and not getattr(error, "partial", b""):
                return await self.post(path, body, headers)
            raise
        except BaseException:
            streams[1].transport.abort()
            raise
        if got.headers.get("connection") == "close":
            streams[1].close()
        else:
            self._idle.append(streams)
        return got

    async def _free(self) -> tuple[bool, Streams]:
        while self._idle:
            reader, writer = self._idle.pop()
            if not reader.at_eof() and reader.exception() is None and not _readable(writer):
                return True, (reader, writer)
            writer.close()
        return False, await connect(self._port, self._tls)

    def close(self) -> None:
        for _, writer in self._idle:
            writer.close()
        self._idle.clear()


def _readable(writer: asyncio.StreamWriter) -> bool:
    """Of an idle connection: its end has come, and the event loop has not seen it yet."""
    look = select.poll()
    look.register(writer.get_extra_info("socket").fileno(), select.POLLIN)
    return bool(look.poll(0))


async def connect(port: int, tls: ssl.SSLContext | None = None) -> Streams:
    return await asyncio.open_connection("127.0.0.1", port, ssl=tls)
