"""What the probes say of a model that fails, drifts, hangs or is lost; and what callers are told meanwhile."""

import asyncio
from contextlib import asynccontextmanager

import anyio
import pytest

from service.errors import DeviceLost, GoldenMismatch
from service.lifecycle import watch
from tests.api.serving import GOOD, error_of, served, step_entered, until
from tests.models import StandIn, reward

pytestmark = pytest.mark.anyio

BAD = {"prompt": "p", "response": "bad"}


@pytest.fixture(autouse=True)
def look_often(monkeypatch):
    monkeypatch.setattr(watch, "LOOK_S", 0.01)
    monkeypatch.setattr(watch, "DOUBTED_S", 0.05)


class Checked(StandIn):
    """Its golden scores can be made to fail."""

    def __init__(self, **options) -> None:
        super().__init__(**options)
        self.checks = 0

    def check(self, beat=lambda: None) -> float:
        self.checks += 1
        return super().check(beat)


async def probe(server, path="/readyz") -> tuple[int, str]:
    answer = await server.client.get(path)
    return answer.status_code, answer.text.strip()


async def becomes(server, status: int, path="/readyz") -> None:
    async def reached() -> bool:
        return (await probe(server, path))[0] == status

    await until(reached)


@asynccontextmanager
async def failing(model: Checked, **settings):
    """Three steps in a row gave nothing, and the golden scores cannot be reproduced either."""
    async with served(model, max_failed_steps=3, golden_interval_s=0, **settings) as server:
        model.broken, model.unready = {"bad"}, RuntimeError("secret detail")
        for _ in range(3):
            answer = await server.client.post("/score", json=BAD)
            error_of(answer, 500, "model_failure")
        yield server


async def test_steps_that_fail_in_a_row_make_it_unready_and_a_good_check_ready_again():
    model = Checked()
    async with failing(model) as server:
        assert await probe(server) == (503, "one step after another fails")
        assert await probe(server, "/livez") == (200, "alive")  # a restart is for what hangs
        assert await server.metric("basereward_ready") == 0
        assert await server.metric("basereward_failed_steps_in_a_row") == 3
        await until(lambda: _true(model.checks >= 3))
        model.unready = None
        await becomes(server, 200)
        assert await server.metric('basereward_golden_checks_total{outcome="failed"}') >= 1
        await server.still_scores()


async def _true(value: bool) -> bool:
    return value


async def test_who_asks_a_failing_model_is_still_tried_and_a_reward_makes_it_ready():
    async with failing(Checked()) as server:
        answer = await server.client.post("/score", json=GOOD)
        assert answer.json()["reward"] == reward(**GOOD)
        await becomes(server, 200)


async def test_poison_from_one_caller_makes_nobody_wait():
    """The model is sound: the check at once says so."""
    model = Checked()
    async with served(model, max_failed_steps=2, golden_interval_s=0) as server:
        model.broken = {"bad"}
        for _ in range(6):
            await server.client.post("/score", json=BAD)
        await becomes(server, 200)
        assert model.checks >= 2  # at the start, and when in doubt


async def test_the_golden_scores_are_checked_again_and_again():
    model = Checked()
    async with served(model, golden_interval_s=0.05) as server:
        await until(lambda: _true(model.checks >= 4))
        await server.still_scores()
        assert await server.metric('basereward_golden_checks_total{outcome="reproduced"}') >= 3
        assert await server.metric("basereward_golden_worst_difference") == 0


async def test_with_interval_0_only_at_the_start():
    model = Checked()
    async with served(model, golden_interval_s=0):
        await anyio.sleep(0.2)
        assert model.checks == 1


async def test_rewards_that_drift_are_not_served_any_more():
    model = Checked()
    async with served(model, golden_interval_s=0.05) as server:
        stopped = asyncio.Event()
        lifecycle = server.app.state.lifecycle
        lifecycle.on_failure = stopped.set
        model.unready = GoldenMismatch("golden[0] gives 3, the manifest says 1", 2.0)
        with anyio.fail_after(10):
            await stopped.wait()
        assert "not reproduced any more" in lifecycle.failure
        status, text = await probe(server)
        assert (status, "shutting down" in text or "golden" in text) == (503, True)
        answer = await server.client.post("/score", json=GOOD)
        assert answer.status_code == 503
        assert await server.metric('basereward_golden_checks_total{outcome="drifted"}') == 1
        assert await server.metric("basereward_golden_worst_difference") == 2.0


async def test_a_start_that_drifts_stays_unready_and_does_not_end():
    model = Checked()
    model.unready = GoldenMismatch("golden[0] gives 3, the manifest says 1", 2.0)
    async with served(model) as server:
        assert (await probe(server))[0] == 503
        assert server.app.state.lifecycle.failure is None
        assert await server.metric('basereward_golden_checks_total{outcome="drifted"}') == 1


async def test_a_lost_device_ends_the_server_and_everybody_is_told_to_come_again():
    model = StandIn()
    async with served(model) as server, anyio.create_task_group() as group:
        stopped = asyncio.Event()
        lifecycle = server.app.state.lifecycle
        lifecycle.on_failure = stopped.set
        score = model.score

        def lost(staged):
            score(staged)  # held there
            raise DeviceLost("CUDA error: secret detail")

        model.score = lost
        model.hold()
        answers = []

        async def ask(body) -> None:
            answers.append(await server.client.post("/score", json=body))

        for i in range(3):
            group.start_soon(ask, {"prompt": f"p{i}", "response": "a"})
        await step_entered(model)
        model.release()
        with anyio.fail_after(10):
            await stopped.wait()
        await until(lambda: _true(len(answers) == 3))
        for answer in answers:
            assert answer.status_code == 503
            assert "retry-after" in answer.headers
            assert "secret" not in answer.text
        assert (await probe(server))[0] == 503
        assert "device" in lifecycle.failure
    assert not lifecycle.ended  # so that the process is not left to torch's own end


async def test_liveness_is_red_while_a_step_hangs_and_green_when_it_ends():
    model = StandIn()
    async with served(model, hang_timeout_s=0.2) as server, anyio.create_task_group() as group:
        await anyio.sleep(0.3)
        assert await probe(server, "/livez") == (200, "alive")  # idle
        model.hold()
        group.start_soon(server.still_scores)
        await step_entered(model)
        await becomes(server, 503, "/livez")
        assert await probe(server) == (503, "the model is stuck or dead")
        assert await server.metric("basereward_alive") == 0
        model.release()
        await becomes(server, 200, "/livez")
        assert await server.metric("basereward_ready") == 1


async def test_a_runs_label_is_one_line_of_the_metrics():
    async with served() as server:
        await server.score({"prompt": "p", "responses": ["a", "bc"]}, params={"run": "a\r\n\0b"})
        assert 'run="a___b"' in (await server.client.get("/metrics")).text


@pytest.mark.parametrize(("run", "kept"), [({"X-Run": "grpo-7"}, True), ({}, False)])
async def test_signs_of_hacking_are_kept_of_requests_that_name_their_run(run, kept):
    model = StandIn()
    model.answers = {"short": 1.0, "longer than that": 2.0, "the longest of them all": 4.0}
    async with served(model) as server:
        await server.score({"prompt": "p", "responses": list(model.answers)}, headers=run)
        text = (await server.client.get("/metrics")).text
        assert ('run="grpo-7"' in text) == kept
        if kept:
            labels = '{run="grpo-7",tenant="default"}'
            spread = await server.metric(f"basereward_run_group_spread{labels}")
            assert spread == pytest.approx(1.5275, abs=1e-3)  # of 1, 2 and 4
            assert await server.metric(f"basereward_run_tied_share{labels}") == 0
            correlation = f"basereward_run_reward_length_correlation{labels}"
            assert await server.metric(correlation) > 0.9
            assert await server.metric(f"basereward_run_groups_total{labels}") == 1


@pytest.mark.parametrize(("sample", "lines"), [(0.0, 0), (1.0, 20)])
async def test_good_requests_are_logged_by_sample_and_bad_ones_always(caplog, sample, lines):
    caplog.set_level("INFO", "service.access")
    async with served(access_log_sample=sample) as server:
        for _ in range(20):
            await server.still_scores()
        await server.client.post("/score", json={"items": []}, headers={"X-Run": "r7"})
        partly = {"items": [GOOD, {"prompt": "p"}], "on_error": "null"}
        await server.client.post("/score", json=partly)
    said = [r for r in caplog.records if r.name == "service.access" and r.path == "/score"]
    assert len([r for r in said if r.status == 200 and not hasattr(r, "failed")]) == lines
    (refused,) = [r for r in said if r.status == 422]
    assert (refused.tenant, refused.run, refused.code) == ("default", "r7", "invalid_item")
    (partial,) = [r for r in said if hasattr(r, "failed")]
    assert (partial.failed, partial.responses) == ({"invalid_item": 1}, 2)
