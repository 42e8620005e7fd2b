"""Bodies as they come in: too large, too slow, cut short, and callers that hang up."""

import asyncio
import json

import anyio
import pytest

from tests.api.serving import GOOD, RawCall, error_of, response_staged, served, step_entered
from tests.models import StandIn, reward

pytestmark = pytest.mark.anyio

BODY = json.dumps(GOOD).encode()


async def test_a_cancelled_call_is_cancelled():
    """Who cancels it is told nothing of a server that ends."""
    model = StandIn()
    async with served(model) as server:
        model.hold()
        call = asyncio.ensure_future(server.client.post("/score", json=GOOD))
        await step_entered(model)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        model.release()
        await server.still_scores()


async def test_a_body_whose_stated_length_is_too_large_is_refused_unread():
    async with served(max_body_bytes=1000) as server:
        call = RawCall(server.app, headers=[("content-length", "1001")])
        (await call.run()).error(413, "body_too_large")
        assert call.received == 0
        await server.still_scores()


async def test_a_chunked_body_that_grows_too_large_is_refused_while_it_comes():
    async with served(max_body_bytes=1000) as server:
        call = RawCall(server.app, headers=[("transfer-encoding", "chunked")])
        for _ in range(5):
            call.send(b" " * 600, more=True)
        (await call.run()).error(413, "body_too_large")
        assert call.received == 2
        await server.still_scores()


async def test_a_body_of_just_the_limit_scores():
    async with served(max_body_bytes=1000) as server:
        padded = BODY + b" " * (1000 - len(BODY))
        answer = await server.client.post("/score", content=padded)
        assert answer.status_code == 200
        await server.refused(padded + b" ", 413, "body_too_large")


async def test_a_body_in_single_bytes_scores():
    async with served() as server:
        call = RawCall(server.app)
        for i in range(len(BODY)):
            call.send(BODY[i : i + 1], more=True)
        call.send(b"")
        await call.run()
    assert json.loads(call.body)["reward"] == reward(**GOOD)


async def test_a_stalled_body_is_too_slow():
    async with served(body_timeout_s=0.1) as server:
        call = RawCall(server.app)
        call.send(BODY[:10], more=True)
        (await call.run()).error(408, "body_too_slow")
        await server.still_scores()


async def test_a_body_that_never_starts_is_too_slow():
    async with served(body_timeout_s=0.1) as server:
        call = RawCall(server.app)
        (await call.run()).error(408, "body_too_slow")


async def test_a_caller_that_hangs_up_in_its_body_gives_its_bytes_back():
    async with served(max_queued_bytes=1000) as server:
        for _ in range(3):
            call = RawCall(server.app)
            call.send(b" " * 900, more=True)
            call.hang_up()
            await call.run()
            assert call.status is None
        await server.still_scores()
        assert await server.metric("basereward_inflight_requests") == 1  # the scrape


async def test_body_bytes_count_while_they_stream_in():
    async with served(max_queued_bytes=1000) as server, anyio.create_task_group() as tasks:
        slow = RawCall(server.app)
        slow.send(BODY + b" " * 800, more=True)
        tasks.start_soon(slow.run)

        await server.metric_becomes("basereward_inflight_requests", 2)
        answer = await server.client.post("/score", content=BODY + b" " * 300)
        error_of(answer, 429, "overloaded")
        slow.send(b"")
    assert slow.status == 200


async def hang_up_in_line(server, body):
    """Send a request behind the held step and hang up once it waits."""
    call = RawCall(server.app)
    call.send(json.dumps(body).encode())
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(call.run)
        await server.metric_becomes("basereward_queue_depth", len(body["responses"]))
        call.hang_up()
    assert call.status is None


async def test_the_work_of_a_caller_that_hangs_up_is_dropped():
    model = StandIn()
    answers = {}

    async def send(response):
        answers[response] = await server.score({"prompt": "p", "response": response})

    async with served(model) as server, anyio.create_task_group() as tasks:
        model.hold()
        tasks.start_soon(send, "running")
        await step_entered(model)
        tasks.start_soon(send, "staged")
        await response_staged(model, "staged")
        await hang_up_in_line(server, {"prompt": "p", "responses": ["gone 1", "gone 2"]})
        assert await server.metric("basereward_queue_depth") == 0
        assert await server.metric('basereward_items_total{outcome="cancelled"}') == 2
        tasks.start_soon(send, "after")
        await server.metric_becomes("basereward_queue_depth", 1)
        model.release()
    assert model.seen == ["running", "staged", "after"]
    assert {k: v["reward"] for k, v in answers.items()} == {r: reward("p", r) for r in model.seen}


async def test_a_staged_step_of_a_caller_that_hung_up_is_not_run():
    model = StandIn()
    async with served(model) as server, anyio.create_task_group() as tasks:
        model.hold()
        tasks.start_soon(server.score, GOOD)
        await step_entered(model)
        call = RawCall(server.app)
        call.send(json.dumps({"prompt": "p", "response": "gone"}).encode())
        tasks.start_soon(call.run)
        await response_staged(model, "gone")
        call.hang_up()
        await server.metric_becomes('basereward_items_total{outcome="cancelled"}', 1)
        model.release()
        await server.still_scores()
    assert model.seen == [GOOD["response"]] * 2


async def test_places_of_a_caller_that_hung_up_are_free_again():
    model = StandIn()
    async with served(model, max_queued_responses=2) as server, anyio.create_task_group() as tasks:
        model.hold()
        tasks.start_soon(server.score, GOOD)
        await step_entered(model)
        for _ in range(3):
            call = RawCall(server.app)
            call.send(json.dumps({"prompt": "p", "response": "gone"}).encode())
            async with anyio.create_task_group() as inner:
                inner.start_soon(call.run)
                await server.metric_becomes("basereward_inflight_requests", 3)
                call.hang_up()
            assert call.status is None
        tasks.start_soon(server.score, {"prompt": "p", "response": "b"})
        await server.metric_becomes("basereward_inflight_requests", 3)
        model.release()
    assert "b" in model.seen
    assert "gone" not in model.seen
