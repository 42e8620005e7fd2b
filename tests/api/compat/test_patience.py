"""Clients that die on a quick refusal are held instead: while the server is full, and while it loads."""

import anyio
import anyio.lowlevel
import httpx
import pytest

from service.app import create_app
from service.engine import Tenant
from service.settings import Settings
from tests.api.serving import error_of, served, step_entered, until
from tests.inputs.pictures import data_uri, pixels, png, raster
from tests.models import WAIT_S, StandIn, reward

pytestmark = pytest.mark.anyio


def query(response):
    return {"query": [f"p {response}"], "prompts": ["p "]}


async def test_a_full_server_holds_them_and_then_answers():
    model = StandIn()
    async with served(model, max_queued_responses=1) as server, anyio.create_task_group() as tasks:
        answers = []

        async def send(response):
            answer = await server.client.post("/get_reward", json=query(response))
            answers.append((answer.json()["rewards"], [reward("p ", response)]))

        model.hold()
        tasks.start_soon(send, "a")
        await step_entered(model)
        for response in ("b", "c", "d"):
            tasks.start_soon(send, response)
        await server.metric_becomes("basereward_inflight_requests", 5)  # this one asks
        refused = await server.client.post("/score", json={"prompt": "p", "response": "r"})
        error_of(refused, 429, "overloaded")
        assert answers == []
        model.release()
    assert len(answers) == 4
    assert all(got == expected for got, expected in answers)


async def test_their_own_deadline_ends_the_wait_with_503():
    model = StandIn()
    async with served(model, max_queued_responses=1) as server, anyio.create_task_group() as tasks:
        model.hold()
        tasks.start_soon(lambda: server.client.post("/get_reward", json=query("a")))
        await step_entered(model)
        answer = await server.client.post("/get_reward?timeout_s=0.1", json=query("b"))
        error_of(answer, 503, "overloaded")
        model.release()


@pytest.mark.parametrize("status", [429, 503])
async def test_the_operator_s_status_goes_for_every_route(status):
    model = StandIn()
    settings = {"max_queued_responses": 1, "overload_status": status}
    async with served(model, **settings) as server, anyio.create_task_group() as tasks:
        model.hold()
        tasks.start_soon(lambda: server.client.post("/get_reward", json=query("a")))
        await step_entered(model)
        answer = await server.client.post(
            "/reward?timeout_s=0.1", json={"prompt": "p", "response": "b"}
        )
        error_of(answer, status, "overloaded")
        model.release()


async def test_bodies_wait_until_there_is_room_for_all_of_them():
    model = StandIn()
    async with served(model, max_queued_bytes=2000) as server, anyio.create_task_group() as tasks:
        rewards = {}

        async def send(response):
            answer = await server.client.post("/get_reward", json=query(response))
            rewards[response] = answer.json()["rewards"]

        model.hold()
        large = [letter * 1500 for letter in "abc"]
        for response in large:
            tasks.start_soon(send, response)
        await step_entered(model)
        assert rewards == {}
        model.release()
    assert rewards == {r: [reward("p ", r)] for r in large}


async def test_pictures_that_do_not_fit_are_waited_for():
    """Decoded pictures count too; a request whose own do not fit yet starts again when something is given back."""
    model = StandIn(picture_bytes=1000)
    async with served(model, max_queued_bytes=10_000) as server:
        admission = server.app.state.engine.admission
        admission.hold_bytes(6_000, Tenant())
        body = query("b") | {"labels": [data_uri(png(28, 28))]}  # about 3,400 bytes
        answers = []

        async def send():
            answers.append(await server.client.post("/get_reward?image_from=labels", json=body))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(send)
            await until_patchified(model)
            assert answers == []
            admission.hold_bytes(-6_000, Tenant())
    assert answers[0].json()["rewards"] == [reward("p ", "b", raster(pixels(28, 28)))]


async def until_patchified(model):
    async def patchified():
        return bool(model.rasters)

    await until(patchified)


async def test_a_loading_server_holds_them():
    app = create_app(Settings())
    engine = app.state.engine
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
        answer = await client.post("/get_reward?timeout_s=0.1", json=query("a"))
        error_of(answer, 503, "not_ready")
        rewards = []

        async def send():
            rewards.append((await client.post("/get_reward", json=query("a"))).json()["rewards"])

        with anyio.fail_after(WAIT_S):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(send)
                await anyio.lowlevel.checkpoint()
                assert rewards == []
                engine.attach(StandIn())
            assert rewards == [[reward("p ", "a")]]
            await engine.stop()
            error_of(await client.post("/get_reward", json=query("a")), 503, "draining")


async def test_a_server_that_will_not_be_ready_says_so_at_once():
    app = create_app(Settings())
    app.state.engine.health.refuse("golden scores are not reproduced")
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
        with anyio.fail_after(WAIT_S):
            error_of(await client.post("/get_reward", json=query("a")), 503, "not_ready")
