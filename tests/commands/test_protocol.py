"""Requests begin a few in each round of the event loop, however many are sent in one moment; none is lost."""

import asyncio

import pytest

import service.commands.protocol
from tests.commands.house import REQUEST, House

pytestmark = pytest.mark.anyio


async def test_few_begin_in_one_round_and_all_do():
    house = House(at_once=3)
    connections = [house.connect() for _ in range(30)]
    for protocol, _ in connections:
        protocol.data_received(REQUEST)
    await house.rounds(40)
    assert max(house.began.count(number) for number in house.began) <= 3
    assert house.bodies == [b"body"] * 30
    for _, transport in connections:
        assert b"204" in transport.write.call_args_list[0].args[0]


async def test_a_refused_request_whose_body_comes_late_leaves_an_idle_connection():
    """Kept for as long as any other: not for the time that a head may take."""
    house = House(at_once=1)
    house.refuses = True
    protocol, _ = house.connect()
    protocol.data_received(REQUEST[:-2])
    await house.rounds(5)
    protocol.data_received(REQUEST[-2:])
    await house.rounds(5)
    assert protocol._head_timer is None
    assert protocol.timeout_keep_alive_task is not None
    protocol.data_received(REQUEST)
    await house.rounds(5)
    assert len(house.began) == 2


async def test_nothing_more_is_read_until_its_turn():
    house = House(at_once=1)
    protocol, transport = house.connect()
    protocol.data_received(REQUEST)
    transport.pause_reading.assert_called_once()
    transport.resume_reading.assert_not_called()
    await house.rounds(5)
    transport.resume_reading.assert_called_once()


async def test_the_rest_of_a_request_does_not_wait():
    house = House(at_once=1)
    protocol, transport = house.connect()
    protocol.data_received(REQUEST[:-2])
    await house.rounds(5)
    protocol.data_received(REQUEST[-2:])
    assert transport.pause_reading.call_count == 1
    await house.rounds(5)
    assert house.bodies == [b"body"]


async def test_a_connection_that_is_gone_begins_nothing():
    house = House(at_once=1)
    protocol, transport = house.connect()
    protocol.data_received(REQUEST)
    transport.is_closing.return_value = True
    protocol.connection_lost(ConnectionResetError())
    await house.rounds(5)
    assert house.began == []


async def test_what_has_come_is_answered_when_the_server_stops():
    house = House(at_once=1)
    protocol, transport = house.connect()
    protocol.data_received(REQUEST)
    protocol.shutdown()
    await house.rounds(5)
    assert len(house.began) == 1
    assert b"204" in transport.write.call_args_list[0].args[0]


async def test_an_idle_connection_is_closed_when_the_server_stops(monkeypatch):
    """But what is on its way when it stops is answered."""
    monkeypatch.setattr(service.commands.protocol, "LAST_REQUEST_S", 0.05)
    house = House(at_once=1)
    protocol, transport = house.connect()
    protocol.shutdown()
    transport.close.assert_not_called()
    await asyncio.sleep(0.1)
    transport.close.assert_called_once()
    protocol, transport = house.connect()
    protocol.shutdown()
    protocol.data_received(REQUEST)
    await house.rounds(5)
    assert b"204" in transport.write.call_args_list[0].args[0]


async def test_a_request_that_waits_is_not_taken_for_an_idle_connection():
    house = House(at_once=1)
    house.config.timeout_keep_alive = 0
    protocol, _ = house.connect()
    protocol.data_received(REQUEST)
    await house.rounds(3)  # answered: the connection may idle for 0 s from now on
    protocol.data_received(REQUEST)
    await asyncio.sleep(0.01)
    assert len(house.began) == 2
