"""A forward pass that hangs, raises, gives NaN or runs out of memory: seen by probes, said to callers, got over."""

import asyncio

import pytest

from tests.drills.traffic import calling, metric, probe, wait_for

pytestmark = pytest.mark.anyio

HANG_S = 3.0
CALLERS = 20


async def later(condition, within_s=60.0) -> float:
    return await asyncio.to_thread(wait_for, condition, within_s)


async def test_hangs(faulty, note):
    """Liveness red within the timeout and a second, green when it returns; nobody is lost."""
    server = faulty("--hang-timeout-s", str(HANG_S))
    async with calling(server.url, CALLERS) as callers:
        await later(lambda: callers.tally.scored > 100)
        server.tell("hold")
        red_s = await later(lambda: probe(server, "/livez") == 503)
        assert probe(server, "/readyz") == 503
        assert metric(server, "oldest_queued_age_seconds") > 0
        server.tell("release")
        green_s = await later(lambda: probe(server, "/livez") == 200)
        before = callers.tally.scored
        await later(lambda: callers.tally.scored > before + 100)
    assert set(callers.tally.outcomes) == {"200"}
    assert HANG_S - 0.5 < red_s < HANG_S + 2
    assert green_s < 2
    note(
        timeout_s=HANG_S,
        red_after_s=round(red_s, 1),
        green_after_s=round(green_s, 2),
        lost=callers.tally.lost,
    )


@pytest.mark.parametrize(
    ("fault", "code"),
    [("raise", "model_failure"), ("nan", "non_finite_reward"), ("out_of_memory", "model_failure")],
)
async def test_fails(faulty, note, fault, code):
    """Callers are told by code; after five steps in a row unready, and ready once the golden scores are reproduced."""
    server = faulty("--golden-interval-s", "0")
    async with calling(server.url, CALLERS) as callers:
        await later(lambda: callers.tally.scored > 100)
        server.tell(fault)
        red_s = await later(lambda: metric(server, "failed_steps_in_a_row") >= 5)
        await later(lambda: callers.tally.outcomes[code] > 50)
        assert probe(server, "/livez") == 200
        server.tell("sound")
        green_s = await later(lambda: probe(server, "/readyz") == 200)
        before = callers.tally.scored
        await later(lambda: callers.tally.scored > before + 100)
    tally = callers.tally
    assert set(tally.outcomes) == {"200", code}
    assert not any("shapes" in message or "GiB" in message for message in tally.messages)
    note(
        doubted_after_s=round(red_s, 2),
        ready_after_s=round(green_s, 2),
        scored=tally.scored,
        told=tally.outcomes[code],
        lost=tally.lost,
    )


async def test_device_lost(faulty, note):
    """The process ends by itself with exit code 1; whoever was accepted is told to come again."""
    server = faulty()
    async with calling(server.url, CALLERS) as callers:
        await later(lambda: callers.tally.scored > 100)
        server.tell("lost")
        gone_s = await later(lambda: _gone(server))
    assert server.wait() == 1
    told = callers.tally.outcomes["not_ready"] + callers.tally.outcomes["draining"]
    assert told >= 1
    note(ended_after_s=round(gone_s, 2), told=told, refused_connections=callers.tally.lost)


def _gone(server) -> bool:
    """It waits for one more scrape, so that somebody is paged."""
    probe(server, "/metrics")
    return server.process.poll() is not None
