"""Probes, metrics and what the server says of itself."""

import threading

import pytest

from service import __version__
from tests.api.serving import GOOD, RawCall, served
from tests.models import WAIT_S, StandIn

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/health"])
async def test_probes_answer_200_when_all_is_well(path):
    async with served() as server:
        assert (await server.client.get(path)).status_code == 200


async def test_info_tells_model_limits_and_version():
    async with served(max_responses=77) as server:
        info = (await server.client.get("/info")).json()
        model = server.model.info
    assert info["version"] == __version__
    assert info["model"]["fingerprint"] == model.fingerprint
    assert info["model"]["numerics"] == model.numerics
    assert info["model"]["reward_tolerance"] == 0.0
    assert info["settings"]["max_responses"] == 77
    assert info["settings"]["api_key_set"] is False
    assert "api_key" not in info["settings"]


async def test_the_thread_that_checks_the_model_ends_with_it():
    """While it lived, OpenMP would hold more threads than there are cores, and slow the model's down."""
    model, checked_by = StandIn(), []

    def check() -> float:
        checked_by.append(threading.current_thread())
        return 0.0

    model.check = check
    async with served(model):
        (thread,) = checked_by
        thread.join(WAIT_S)
        assert not thread.is_alive()


async def test_models_are_listed_as_openai_does():
    async with served(StandIn(name="mine")) as server:
        listed = (await server.client.get("/v1/models")).json()
        answer = await server.score(GOOD | {"model": "mine"})
    assert listed["object"] == "list"
    assert [entry["id"] for entry in listed["data"]] == ["mine"] == [answer["model"]]
    assert listed["data"][0]["scoring"] == "pointwise"


async def test_metrics_count_what_happened():
    items = [GOOD, {"prompt": "p", "responses": ["a", "b"]}]
    async with served() as server:
        await server.score({"items": items})
        await server.client.post("/score", json={"items": []})
        await server.client.post("/score", content=b"{")
        text = (await server.client.get("/metrics")).text
        counts = {
            line: await server.metric(f"basereward_{line}")
            for line in (
                'items_total{outcome="scored"}',
                'requests_total{route="/score",status="ok"}',
                'requests_total{route="/score",status="client_error"}',
                'rejections_total{reason="invalid_item"}',
                'rejections_total{reason="malformed_json"}',
                "queue_depth",
                "ready",
            )
        }
    assert list(counts.values()) == [3, 1, 2, 1, 1, 0, 1]
    assert GOOD["prompt"] not in text


async def test_paths_that_callers_invent_are_no_labels():
    async with served() as server:
        for path in ("/a", "/b", "/score/secret"):
            await server.client.get(path)
        text = (await server.client.get("/metrics")).text
        label = 'basereward_requests_total{route="other",status="client_error"}'
        assert await server.metric(label) == 3
    assert "secret" not in text


async def test_nothing_is_left_behind_by_refused_requests():
    async with served(body_timeout_s=0.05) as server:
        stalled = RawCall(server.app)
        stalled.send(b"{", more=True)
        await stalled.run()
        for body in (b"", b"{", b"[]", b'{"items": []}', b'{"prompt": "p"}'):
            await server.client.post("/score", content=body)
        assert await server.metric("basereward_inflight_requests") == 1  # the scrape
        assert await server.metric("basereward_queue_depth") == 0
        assert await server.metric("basereward_running_items") == 0
