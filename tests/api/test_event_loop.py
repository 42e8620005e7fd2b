"""No callback holds the event loop: not with 2,000 responses queued, whatever is asked."""

import asyncio
import gc
import time

import anyio
import orjson
import pytest

from service.engine import lag
from tests.api.serving import GOOD, RawCall, served, until
from tests.inputs.pictures import data_uri, png
from tests.models import StandIn, reward

pytestmark = pytest.mark.anyio

QUEUED = 2000
PIECE_BYTES = 2**16
LIMIT_S = 0.020  # of the loop thread's own CPU time, in one callback; a tenth of it is usual
TRIES = (
    3  # what a virtual machine's host takes for others counts as CPU time too, but not every time
)
PICTURE = data_uri(png(64, 64))
GROUP = {"prompt": "p", "responses": [str(i) for i in range(8)]}

REQUESTS = {
    "singles": [{"items": [GOOD | {"response": f"r{i}"}]} for i in range(100)],
    "items": [{"items": [GOOD] * 2000}],
    "null": [{"items": [GOOD, 5] * 1000, "on_error": "null"}],
    "groups": [{"items": [GROUP] * 250}],
    "pictures": [{"items": [GOOD | {"image": PICTURE}] * 1000}],
    "distinct": [{"items": [GOOD | {"image": data_uri(png(30 + i, 30))} for i in range(300)]}],
    "empty": [{"items": [{}] * 2000}],
    "many": [{"items": [5] * 200_000}],
    "one-item": [{"prompt": "p", "response": "r", "images": [1] * 20_000}],
    "turns": [
        {"items": [{"messages": [{"role": "user", "content": "a"}] * 1000, "response": "r"}] * 40}
    ],
    "members": [{"prompt": "p", "response": "r", "image": {"a": [{"b": []}] * 40_000}}],
    "keys": [GOOD | {f"k{i}": 1 for i in range(60_000)}],
    "tags": [{"prompt": "a" * 262_144, "image_tag": "a", "response": "r"}],
    "long": [{"prompt": "x, " * 60_000, "response": "y" * 100_000}],
}


class Watch:
    """The most CPU time that a callback took on the loop's thread."""

    def __init__(self, monkeypatch):
        self.worst, self.name = 0.0, ""
        run = asyncio.Handle._run

        def timed(handle):
            begin = time.thread_time()
            run(handle)
            took = time.thread_time() - begin
            if took > self.worst:
                self.worst, self.name = took, repr(handle)

        monkeypatch.setattr(asyncio.Handle, "_run", timed)


async def call(app, body):
    """The body comes in the pieces that a socket gives."""
    one = RawCall(app)
    running = asyncio.ensure_future(one.run())
    for begin in range(0, len(body), PIECE_BYTES):
        one.send(body[begin : begin + PIECE_BYTES], more=begin + PIECE_BYTES < len(body))
        await asyncio.sleep(0)
    return await running


async def watched(bodies, monkeypatch) -> Watch:
    """What the loop did while these were answered beside 2,000 that waited."""
    model = StandIn()
    line = [orjson.dumps({"items": [GOOD] * 200}) for _ in range(QUEUED // 200)]
    async with served(model, max_responses=4096) as server, anyio.create_task_group() as tasks:
        model.hold()
        for body in line:
            tasks.start_soon(call, server.app, body)

        async def queued() -> bool:
            return await server.metric("basereward_queue_depth") >= QUEUED - 1024

        await until(queued)
        gc.disable()  # a full collection takes as long as all the tests before it left objects
        with monkeypatch.context() as patch:
            watch = Watch(patch)
            answers = [asyncio.ensure_future(call(server.app, body)) for body in bodies]
            await asyncio.wait(answers, timeout=1.0)
            model.release()
            got = await asyncio.gather(*answers)
    gc.enable()
    assert all(one.status in (200, 413, 422) for one in got)
    return watch


@pytest.mark.parametrize("name", REQUESTS)
async def test_no_callback_takes_long_beside_2000_queued(name, monkeypatch):
    bodies = [orjson.dumps(body) for body in REQUESTS[name]]
    for _ in range(TRIES):
        watch = await watched(bodies, monkeypatch)
        if watch.worst < LIMIT_S:
            return
    pytest.fail(f"{watch.worst * 1000:.1f} ms in {watch.name}")


async def test_a_callback_that_holds_the_loop_shows_in_the_metric():
    async with served() as server:
        quick = 'basereward_event_loop_lag_seconds_bucket{le="0.05"}'
        assert lag.INTERVAL_S <= 0.05
        time.sleep(0.2)  # noqa: ASYNC251 - on purpose
        await anyio.sleep(lag.INTERVAL_S)
        count = "basereward_event_loop_lag_seconds_count"
        assert await server.metric(count) - await server.metric(quick) == 1
        await server.still_scores()
    assert reward(**GOOD) is not None
