"""A request's bytes count against what may wait until its answer has been taken."""

import asyncio
import json

import pytest

from tests.api.serving import GOOD, RawCall, served, until

pytestmark = pytest.mark.anyio

BODY = json.dumps(GOOD).encode()


def call(app, taken: asyncio.Event) -> RawCall:
    one = RawCall(app)
    one._scope["state"] = {"sent": taken.wait}  # as the public port's protocol says it
    one.send(BODY)
    return one


async def test_bytes_are_held_until_the_answer_has_been_taken():
    async with served(max_queued_bytes=len(BODY)) as server:
        taken = asyncio.Event()
        first = call(server.app, taken)
        running = asyncio.create_task(first.run())

        async def answered():
            return bool(first.body)

        await until(answered)
        assert first.status == 200
        at_once = asyncio.Event()
        at_once.set()
        refused = await call(server.app, at_once).run()
        refused.error(429, "overloaded")
        taken.set()
        await running
        assert (await call(server.app, taken).run()).status == 200


async def test_a_refused_request_gives_its_bytes_back_at_once():
    async with served(max_queued_bytes=len(BODY)) as server:
        never = asyncio.Event()
        bad = RawCall(server.app)
        bad._scope["state"] = {"sent": never.wait}
        bad.send(b"{" * len(BODY))
        running = asyncio.create_task(bad.run())

        async def answered():
            return bool(bad.body)

        await until(answered)
        assert bad.status == 400
        done = asyncio.Event()
        done.set()
        assert (await call(server.app, done).run()).status == 200
        never.set()
        await running
