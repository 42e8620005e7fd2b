"""The wall clock jumps a day ahead and back under load: deadlines, probes and rewards do not care, log times follow."""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.drills.debian import installed
from tests.drills.traffic import calling, metric, probe, wait_for

pytestmark = pytest.mark.anyio

JUMPS = ("+1d", "+0d", "-1d", "+0d")
HOURS = {"+1d": 24, "+0d": 0, "-1d": -24}


@pytest.fixture
def clock(tmp_path) -> Path:
    """The file that says how far the server's wall clock is off; its monotonic clock is the machine's."""
    file = tmp_path / "clock"
    file.write_text("+0d\n")
    return file


@pytest.fixture
def server(faulty, clock):
    installed("faketime")
    (library,) = Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")
    fake = {
        "LD_PRELOAD": str(library),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "DONT_FAKE_MONOTONIC": "1",
        "FAKETIME_NO_CACHE": "1",
    }
    return faulty("--hang-timeout-s", "5", "--golden-interval-s", "1", env=fake)


async def test_the_clock_jumps(server, clock, note, full):
    """No request expires, liveness stays green, and the log has the new time."""
    stay_s = 20 if full else 2
    headers = {"X-Request-Timeout-S": "10"}
    jumps = JUMPS * 3 if full else JUMPS
    alive, off_by_h = [], []
    server.tell("steps_s 0.01")
    async with calling(server.url, 10, headers=headers) as callers:
        await asyncio.to_thread(wait_for, lambda: callers.tally.scored > 100)
        for jump in jumps:
            clock.write_text(jump + "\n")
            before = callers.tally.scored
            until = time.monotonic() + stay_s
            while time.monotonic() < until:
                alive.append(await asyncio.to_thread(probe, server, "/livez"))
                alive.append(await asyncio.to_thread(probe, server, "/readyz"))
                await asyncio.sleep(0.25)
            assert callers.tally.scored > before + 5 * stay_s
            off_by_h.append(round(_log_time_off(server) / timedelta(hours=1)))
    expired = metric(server, 'items_total{outcome="expired"}')
    note(
        jumps=" ".join(jumps),
        log_off_by_hours=off_by_h,
        probes=len(alive),
        probes_red=sum(status != 200 for status in alive),
        scored=callers.tally.scored,
        expired=int(expired),
        p99_ms=callers.tally.quantile_ms(0.99),
    )
    assert set(callers.tally.outcomes) == {"200"}
    assert set(alive) == {200}
    assert expired == 0
    assert off_by_h == [HOURS[jump] for jump in jumps]


def _log_time_off(server) -> timedelta:
    """How far the log's last line is from now."""
    wall = datetime.fromisoformat(server.said("request")[-1]["time"])
    return wall - datetime.now(UTC)
