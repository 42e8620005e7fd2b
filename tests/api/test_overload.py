"""When the server cannot take a request now: full, not ready yet, or going."""

import anyio
import httpx
import pytest

from service.app import create_app
from service.engine import Admission, AdmissionLimits
from service.errors import GoldenMismatch
from service.settings import Settings
from tests.api.serving import GOOD, error_of, response_staged, served, step_entered
from tests.inputs.pictures import data_uri, png
from tests.models import StandIn, reward

pytestmark = pytest.mark.anyio


class Waiting:
    """Requests that wait for the held model."""

    def __init__(self, server, tasks):
        self._server = server
        self._tasks = tasks
        self.answers = {}

    def send(self, response, **more):
        self._tasks.start_soon(self._send, response, more)

    async def _send(self, response, more):
        body = {"prompt": "p", "response": response} | more
        self.answers[response] = await self._server.client.post("/score", json=body)


@pytest.mark.parametrize("status", [429, 503])
async def test_too_many_waiting_responses_is_overloaded(status):
    model = StandIn()
    settings = {"max_queued_responses": 3, "overload_status": status}
    async with served(model, **settings) as server, anyio.create_task_group() as tasks:
        model.hold()
        waiting = Waiting(server, tasks)
        waiting.send("a")
        await step_entered(model)
        three = {"prompt": "p", "responses": ["x", "y", "z"]}
        for body in (three, {"items": [GOOD] * 3}):
            answer = await server.client.post("/score", json=body)
            error_of(answer, status, "overloaded")
            assert int(answer.headers["retry-after"]) >= 1
        waiting.send("b")
        await response_staged(model, "b")  # two more had room
        assert await server.metric('basereward_rejections_total{reason="overloaded"}') == 2
        model.release()
        await server.metric_becomes("basereward_inflight_requests", 1)
        await server.score(three)
    for response, answer in waiting.answers.items():
        assert answer.json()["reward"] == reward("p", response)
    assert set(waiting.answers) == {"a", "b"}
    assert not {"x", "y", "z"} & set(model.seen[:2])


async def test_what_would_come_too_late_is_refused_before_its_body_is_read():
    read = []

    async def body():
        read.append(True)
        yield b"{}"

    async with served() as server:
        predicted_s = 90.0
        limits = AdmissionLimits(10, 10, 1000)
        server.app.state.engine.admission = Admission(limits, lambda tenant: predicted_s)
        answer = await server.client.post(
            "/score", content=body(), headers={"X-Request-Timeout-S": "60"}
        )
    error_of(answer, 429, "overloaded")
    assert answer.headers["retry-after"] == "45"
    assert read == []


async def test_too_many_waiting_bytes_is_overloaded():
    model = StandIn()
    picture = data_uri(png(100, 100))
    size = len(picture)
    async with (
        served(model, max_queued_bytes=size * 3 // 2) as server,
        anyio.create_task_group() as tasks,
    ):
        model.hold()
        waiting = Waiting(server, tasks)
        waiting.send("a", image=picture)
        await step_entered(model)
        answer = await server.client.post("/score", json=GOOD | {"image": picture})
        error_of(answer, 429, "overloaded")
        waiting.send("small")
        await response_staged(model, "small")
        model.release()
        await server.metric_becomes("basereward_inflight_requests", 1)
        await server.score(GOOD | {"image": picture})
        await server.score(GOOD | {"image": picture})
    assert {a.status_code for a in waiting.answers.values()} == {200}


async def test_refused_and_broken_requests_give_their_bytes_back():
    big = b'{"prompt": "' + b"x" * 5000
    async with served(max_queued_bytes=6000) as server:
        for _ in range(3):
            await server.refused(big, 400, "malformed_json")


async def test_a_good_burst_waits_and_is_not_refused():
    model = StandIn()
    async with served(model) as server, anyio.create_task_group() as tasks:
        model.hold()
        waiting = Waiting(server, tasks)
        for i in range(100):
            waiting.send(f"r{i}")
        await server.metric_becomes("basereward_inflight_requests", 101)
        model.release()
    assert len(waiting.answers) == 100
    for response, answer in waiting.answers.items():
        assert answer.json()["reward"] == reward("p", response)


async def test_a_wait_that_would_pass_the_deadline_is_refused_at_once():
    model = StandIn()
    async with served(model) as server, anyio.create_task_group() as tasks:
        waiting = Waiting(server, tasks)
        model.hold()
        waiting.send("slow")
        await step_entered(model)
        await server.metric("basereward_queue_depth")  # some milliseconds for a handful of tokens
        model.release()
        await server.metric_becomes("basereward_inflight_requests", 1)
        model.hold()
        waiting.send("running")
        await step_entered(model)
        waiting.send("staged")
        await response_staged(model, "staged")
        waiting.send("long", system="x" * 250_000, prompt="x" * 250_000)
        await server.metric_becomes("basereward_queue_depth", 1)
        assert await server.metric("basereward_backlog_seconds") > 1.0
        answer = await server.client.post("/score", json=GOOD | {"timeout_s": 1.0})
        error_of(answer, 429, "overloaded")
        assert 1 <= int(answer.headers["retry-after"]) <= 60
        model.release()
    assert {answer.status_code for answer in waiting.answers.values()} == {200}


PROBES = {"/livez": 200, "/readyz": 503, "/health": 503, "/metrics": 200, "/version": 200}


async def test_unready_until_the_golden_scores_are_reproduced():
    model = StandIn()
    model.unready = GoldenMismatch("golden[0]: 1.0 expected, 2.0 scored")
    async with served(model) as server:
        answer = await server.client.post("/score", json=GOOD)
        error_of(answer, 503, "not_ready")
        for path, status in PROBES.items():
            answer = await server.client.get(path)
            assert answer.status_code == status, path
            assert ("retry-after" in answer.headers) == (status == 503), path
        assert await server.metric("basereward_ready") == 0
        assert model.seen == []


async def test_not_ready_before_a_model_is_attached():
    app = create_app(
        Settings(), StandIn()
    )  # its lifespan, which attaches the model, is not entered
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
        error_of(await client.post("/score", json=GOOD), 503, "not_ready")
        for path, status in PROBES.items():
            assert (await client.get(path)).status_code == status, path


async def test_draining_refuses_new_work_and_finishes_what_it_took():
    model = StandIn()
    async with served(model) as server, anyio.create_task_group() as tasks:
        model.hold()
        waiting = Waiting(server, tasks)
        waiting.send("running")
        await step_entered(model)
        waiting.send("staged")
        await response_staged(model, "staged")
        waiting.send("in line")
        await server.metric_becomes("basereward_queue_depth", 1)
        server.app.state.lifecycle.drain()
        answer = await server.client.post("/score", json=GOOD)
        error_of(answer, 503, "draining")
        assert (await server.client.get("/readyz")).status_code == 503
        assert (await server.client.get("/livez")).status_code == 200
        assert await server.metric("basereward_draining") == 1
        model.release()
    for response in ("running", "staged", "in line"):
        assert waiting.answers[response].json()["reward"] == reward("p", response)


async def test_who_still_waits_after_the_drain_is_told():
    model = StandIn()
    async with served(model, drain_s=0.05) as server, anyio.create_task_group() as tasks:
        model.hold()
        waiting = Waiting(server, tasks)
        waiting.send("running")
        await step_entered(model)
        waiting.send("staged")
        await response_staged(model, "staged")
        waiting.send("in line")
        await server.metric_becomes("basereward_queue_depth", 1)
        server.app.state.lifecycle.drain()
        await server.metric_becomes("basereward_inflight_requests", 3)  # two, and the scrape
        error_of(waiting.answers["in line"], 503, "draining")
        model.release()
    for response in ("running", "staged"):
        assert waiting.answers[response].json()["reward"] == reward("p", response)
    assert "in line" not in model.seen
