"""Ten times what the server can score, for minutes: it scores as much as ever, in time, and refuses the rest."""

import asyncio
import statistics

import pytest

from tests.drills.traffic import MIB, Callers, Tally, calling, metric, probe, vitals

pytestmark = pytest.mark.anyio

TIMES = 10
DEADLINE_S = 2.0
MEASURED_S = 3.0
HEADERS = {"X-Request-Timeout-S": str(DEADLINE_S)}


async def test_ten_times_overload(faulty, note, full):
    """Throughput stays, nobody is scored too late, refusals say why, memory is bounded; and then it is over."""
    seconds = 300 if full else 12
    server = faulty("--max-batch-responses", "4", "--access-log-sample", "0")
    server.tell("steps_s 0.2")
    capacity = await _capacity(server.url)
    crowd = Callers(server.url)
    load = asyncio.ensure_future(crowd.open_loop(TIMES * capacity, seconds, HEADERS))
    rss = []
    while not load.done():
        rss.append(vitals(server).rss_bytes)
        assert await asyncio.to_thread(probe, server, "/readyz") == 200  # it is busy, not broken
        await asyncio.wait({load}, timeout=seconds / 100)
    await load
    await crowd.close()
    del rss[: len(rss) // 4]  # it begins with an empty line
    first_half, second_half = (
        statistics.median(part) for part in (rss[: len(rss) // 2], rss[len(rss) // 2 :])
    )
    tally, after = crowd.tally, await _afterwards(server.url)
    note(
        seconds=seconds,
        capacity_a_s=round(capacity, 1),
        offered_a_s=round(tally.outcomes.total() / seconds, 1),
        scored_a_s=round(tally.scored / seconds, 1),
        refused=tally.outcomes["overloaded"],
        too_late=tally.outcomes["deadline_exceeded"],
        lost=tally.lost,
        p50_ms=tally.quantile_ms(0.5),
        p99_ms=tally.quantile_ms(0.99),
        deadline_ms=1000 * DEADLINE_S,
        rss_mib=round(second_half / MIB, 1),
        rss_second_half_to_first=round(second_half / first_half, 3),
        afterwards_ms=after,
    )
    _judge(tally, capacity * seconds)
    # A short run is one in which each hiccup of a shared machine counts.
    assert tally.outcomes["deadline_exceeded"] < (0.02 if full else 0.05) * tally.scored
    assert tally.quantile_ms(0.99) < (1000 if full else 1100) * DEADLINE_S
    assert second_half / first_half < (1.1 if full else 1.3)
    assert metric(server, "queue_depth") == 0


def _judge(tally: Tally, could: float) -> None:
    assert tally.outcomes.total() > 0.8 * TIMES * could
    assert set(tally.outcomes) <= {"200", "overloaded", "deadline_exceeded"}
    assert tally.told_when == tally.outcomes["overloaded"]
    assert all("deadline" in message for message in tally.messages)
    assert tally.scored > 0.9 * could


async def _afterwards(url: str) -> float:
    """How long one request takes when all is over."""
    one = Callers(url)
    await one.ask(HEADERS)
    await one.close()
    assert one.tally.scored == 1
    return one.tally.quantile_ms(0.5)


async def _capacity(url: str) -> float:
    """Scored a second by callers who wait for each other, more than fill a step."""
    async with calling(url, 16) as callers:
        await asyncio.sleep(1)
        before = callers.tally.scored
        await asyncio.sleep(MEASURED_S)
        return (callers.tally.scored - before) / MEASURED_S
