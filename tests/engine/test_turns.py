"""Turns: few go in one round of the loop, finishing requests first, and nobody is forgotten."""

import asyncio

import pytest

from service.engine import Turns

pytestmark = pytest.mark.anyio


async def test_few_go_in_one_round():
    turns, rounds, gone = Turns(at_once=4), 0, []

    async def one():
        await turns.take()
        gone.append(rounds)

    tasks = [asyncio.ensure_future(one()) for _ in range(100)]
    while not all(task.done() for task in tasks):
        rounds += 1
        await asyncio.sleep(0)
    assert max(gone.count(number) for number in gone) <= 4
    assert len(gone) == 100
    assert rounds < 60  # and as many as may, in each


async def test_who_finishes_goes_before_who_begins():
    turns, order = Turns(at_once=1), []

    async def one(name, finishing):
        await turns.take(finishing=finishing)
        order.append(name)

    await asyncio.gather(
        one("first", True), one("begin", False), one("begin", False), one("finish", True)
    )
    assert order == ["first", "finish", "begin", "begin"]


async def test_the_cancelled_take_no_turn():
    turns = Turns(at_once=1)
    await turns.take()
    tasks = [asyncio.ensure_future(turns.take()) for _ in range(10)]
    await asyncio.sleep(0)
    for task in tasks[:9]:
        task.cancel()
    await asyncio.wait_for(tasks[9], 5)


async def test_nobody_waits_where_nobody_else_is():
    turns = Turns()
    for _ in range(3):
        await asyncio.wait_for(turns.take(), 5)
        await asyncio.sleep(0)
