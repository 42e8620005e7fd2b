"""A peer that takes nothing of its answer is cut off; one that takes it slowly is not."""

import asyncio
import socket

import pytest

from tests.commands.house import REQUEST, House

pytestmark = pytest.mark.anyio

ANSWER_BYTES = 30 * 10**6  # more than loopback's buffers hold
WAIT_S = 10.0


async def connected(house: House, answer_s: float) -> tuple[socket.socket, asyncio.AbstractServer]:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: house.protocol(answer_s=answer_s), "127.0.0.1", 0)
    peer = socket.socket()
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    peer.setblocking(False)
    await loop.sock_connect(peer, server.sockets[0].getsockname())
    return peer, server


async def until(condition) -> None:
    async with asyncio.timeout(WAIT_S):
        while not condition():  # noqa: ASYNC110 - what is waited for sets no event
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("last", [b"", b"Connection: close\r\n"], ids=["kept", "closing"])
async def test_an_answer_that_nobody_takes_ends_its_connection(last):
    house = House(at_once=1)
    house.answer = bytes(ANSWER_BYTES)
    peer, server = await connected(house, answer_s=0.3)
    with peer:
        await asyncio.get_running_loop().sock_sendall(
            peer, REQUEST.replace(b"Host", last + b"Host")
        )
        await until(lambda: house.state.total_requests)
        assert house.state.connections
        sent = asyncio.ensure_future(house.scopes[0]["state"]["sent"]())
        await asyncio.sleep(0.05)
        assert not sent.done()  # what its request held is held
        await until(lambda: not house.state.connections)
        await sent
    server.close()


async def test_an_answer_that_is_taken_slowly_goes_on():
    house = House(at_once=1)
    house.answer = bytes(ANSWER_BYTES)
    peer, server = await connected(house, answer_s=0.5)
    loop = asyncio.get_running_loop()
    with peer:
        await loop.sock_sendall(peer, REQUEST)
        for _ in range(20):  # four times as long as nothing may be taken
            assert await asyncio.wait_for(loop.sock_recv(peer, 20_000), WAIT_S)
            await asyncio.sleep(0.1)
        assert house.state.connections
    server.close()


async def test_a_small_answer_is_sent_at_once():
    house = House(at_once=1)
    house.answer = b"small"
    peer, server = await connected(house, answer_s=1.0)
    with peer:
        await asyncio.get_running_loop().sock_sendall(peer, REQUEST)
        await until(lambda: house.state.total_requests)
        await asyncio.wait_for(house.scopes[0]["state"]["sent"](), WAIT_S)
    server.close()
