"""A TCP proxy on loopback that passes HTTP on, and does to it what bad weather does."""

import asyncio
import json
import socket
import struct
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from anyio.from_thread import BlockingPortal


class Exchange:
    """One request as it comes in, and its answer."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, upstream: int):
        self._reader, self._writer, self._upstream = reader, writer, upstream
        self._head = self._body = b""

    async def began(self) -> bool:
        """Whether another request came, as far as its head."""
        self._body = b""
        try:
            self._head = await self._reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            return False
        return True

    async def body(self) -> None:
        self._body = await self._reader.readexactly(_length(self._head))

    async def forward(self) -> "Reply":
        """What the upstream answers; may be asked again."""
        if not self._body:
            await self.body()
        reader, writer = await asyncio.open_connection("127.0.0.1", self._upstream)
        writer.write(self._head + self._body)
        head = await reader.readuntil(b"\r\n\r\n")
        body = await reader.readexactly(_length(head))
        writer.close()
        return Reply(head, body)

    async def write(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    def reset(self) -> None:
        """Not a polite end: RST, as of a process that died or a cable that was cut."""
        sock = self._writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()

    @property
    def headers(self) -> dict[str, str]:
        lines = (line.partition(": ") for line in self._head.decode().split("\r\n")[1:])
        return {name.lower(): value for name, _, value in lines if name}

    @property
    def is_closed(self) -> bool:
        return self._writer.is_closing()


class Reply:
    def __init__(self, head: bytes, body: bytes) -> None:
        self.head, self.body = head, body

    def with_body(self, body: bytes) -> "Reply":
        """Another body, of which the head tells the right length."""
        lines = self.head.split(b"\r\n")
        kept = [line for line in lines if not line.lower().startswith(b"content-length")]
        kept.insert(1, b"content-length: %d" % len(body))
        return Reply(b"\r\n".join(kept), body)

    def with_header(self, name: str, value: str) -> "Reply":
        lines = self.head.split(b"\r\n")
        kept = [line for line in lines if not line.lower().startswith(name.encode() + b":")]
        kept.insert(1, f"{name}: {value}".encode())
        return Reply(b"\r\n".join(kept), self.body)

    @property
    def whole(self) -> bytes:
        return self.head + self.body


Fault = Callable[[Exchange], Awaitable[None]]


async def clear(exchange: Exchange) -> None:
    await exchange.write((await exchange.forward()).whole)


async def reset_in_request(exchange: Exchange) -> None:
    """The head and none of the body was read."""
    exchange.reset()


async def reset_in_answer(exchange: Exchange) -> None:
    whole = (await exchange.forward()).whole
    await exchange.write(whole[: len(whole) - 20])
    exchange.reset()


async def duplicate(exchange: Exchange) -> None:
    """Delivered twice, answered once."""
    await exchange.forward()
    await clear(exchange)


async def answered_twice(exchange: Exchange) -> None:
    whole = (await exchange.forward()).whole
    await exchange.write(whole + whole)


async def hang(exchange: Exchange) -> None:
    """Never an answer, nor an end."""
    await exchange.body()
    await exchange.began()


def slow_first_byte(seconds: float) -> Fault:
    async def fault(exchange: Exchange) -> None:
        reply = await exchange.forward()
        await asyncio.sleep(seconds)
        await exchange.write(reply.whole)

    return fault


def slow_body(seconds: float, pieces: int = 10) -> Fault:
    async def fault(exchange: Exchange) -> None:
        reply = await exchange.forward()
        await exchange.write(reply.head)
        size = len(reply.body) // pieces + 1
        for at in range(0, len(reply.body), size):
            await asyncio.sleep(seconds / pieces)
            await exchange.write(reply.body[at : at + size])

    return fault


def refuse(status: int, retry_after: str | None = None) -> Fault:
    """A gateway's own page."""

    async def fault(exchange: Exchange) -> None:
        await exchange.body()
        header = "" if retry_after is None else f"retry-after: {retry_after}\r\n"
        page = f"HTTP/1.1 {status} Bad Weather\r\n{header}content-length: 5\r\n\r\n<br/>"
        await exchange.write(page.encode())

    return fault


def edit(change: Callable[[Reply], Reply]) -> Fault:
    async def fault(exchange: Exchange) -> None:
        await exchange.write(change(await exchange.forward()).whole)

    return fault


def edit_json(change: Callable[[dict[str, Any]], object]) -> Fault:
    def changed(reply: Reply) -> Reply:
        body = json.loads(reply.body)
        change(body)
        return reply.with_body(json.dumps(body).encode())

    return edit(changed)


def other_fingerprint(name: str = "sha256:other") -> Fault:
    """As of a server of another reward function, consistently."""
    return _other("fingerprint", name)


def other_numerics() -> Fault:
    """As of a server that computes it otherwise, consistently."""
    return _other("numerics", "of another chip")


def _other(scale: str, name: str) -> Fault:
    def changed(reply: Reply) -> Reply:
        body = json.loads(reply.body) | {scale: name}
        edited = reply.with_header(f"x-model-{scale}", name)
        return edited.with_body(json.dumps(body).encode())

    return edit(changed)


class FaultProxy:
    """Each request meets the next fault, and after the last clear weather; connections go to the upstreams in
    turn, and after the last one to it."""

    def __init__(self, upstreams: Sequence[int], faults: Sequence[Fault]) -> None:
        self.faults = list(faults)
        self.arrived: list[float] = []  # when each request did, of the loop's clock
        self.connections = 0  # that ever were
        self.connected: set[asyncio.StreamWriter] = set()
        self._upstreams = upstreams
        self._server: asyncio.Server | None = None
        with socket.create_server(("127.0.0.1", 0)) as reserved:
            self._address = reserved.getsockname()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._address[1]}"

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._accept, *self._address)

    async def shut(self) -> None:
        """Connections are refused from now on."""
        if self._server is not None:
            self._server.close()

    async def hang_up(self) -> None:
        for writer in self.connected:
            writer.close()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream = self._upstreams[min(self.connections, len(self._upstreams) - 1)]
        self.connections += 1
        self.connected.add(writer)
        try:
            exchange = Exchange(reader, writer, upstream)
            while await exchange.began():
                self.arrived.append(asyncio.get_running_loop().time())
                await (self.faults.pop(0) if self.faults else clear)(exchange)
                if exchange.is_closed:
                    break
        except ConnectionError:
            pass  # the client has gone
        finally:
            self.connected.remove(writer)
            writer.close()


@contextmanager
def proxied(
    portal: BlockingPortal, upstreams: Sequence[int], faults: Sequence[Fault] = ()
) -> Iterator[FaultProxy]:
    proxy = FaultProxy(upstreams, faults)
    portal.call(proxy.open)
    try:
        yield proxy
    finally:
        portal.call(proxy.shut)


def _length(head: bytes) -> int:
    lines = (line.partition(b":") for line in head.lower().split(b"\r\n"))
    return next((int(value) for name, _, value in lines if name == b"content-length"), 0)
