"""Records to the numbers of a table: medians, spreads and ratios; nothing is formatted here."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.results import Record, Results

BASES = ("serial", "padded", "litserve", "vllm", "offline")


@dataclass(frozen=True, slots=True)
class Row:
    """One system on one case, over all repetitions."""

    system: str
    rewards: int  # of a burst
    rewards_per_s: float  # median
    slowest: float
    fastest: float
    makespan_s: float
    tail_s: float
    computed: float  # tokens computed, as a share of the naive ones
    padding: float  # share of what was computed
    necessary_flops_per_s: float
    of_ceiling: float
    cpu_ms: float  # per reward
    peak_bytes: int
    difference: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """One system's speed as a multiple of another's, and as a share of what sharing allows."""

    base: str
    speedup: float
    of_ratio: float


def rows(results: Results, case: str) -> list[Row]:
    return [
        _row(results.of(case, system), results.ceiling_flops_per_s)
        for system in results.systems(case)
    ]


def _row(records: Sequence[Record], ceiling: float) -> Row:
    speeds = [r.rewards / r.makespan_s for r in records]
    flops = statistics.median(r.necessary_flops / r.makespan_s for r in records)
    computed, padding = sum(r.computed_tokens for r in records), [r.padding_tokens for r in records]
    rewards = sum(r.rewards for r in records)
    return Row(
        system=records[0].system,
        rewards=records[0].rewards,
        rewards_per_s=statistics.median(speeds),
        slowest=min(speeds),
        fastest=max(speeds),
        makespan_s=statistics.median(r.makespan_s for r in records),
        tail_s=statistics.median(r.tail_s for r in records),
        computed=computed / sum(r.tokens for r in records),
        padding=sum(padding) / computed,
        necessary_flops_per_s=flops,
        of_ceiling=flops / ceiling,
        cpu_ms=1000 * sum(r.cpu_s for r in records) / rewards,
        peak_bytes=max(r.peak_bytes for r in records),
        difference=max(r.difference for r in records if r.difference is not None),
    )


def sharing_ratio(results: Results, case: str, system: str) -> float:
    """How many times less there was to compute than naively, in that system's bursts."""
    records = results.of(case, system)
    return sum(r.naive_flops for r in records) / sum(r.necessary_flops for r in records)


def subject(results: Results, case: str) -> str:
    """Whose speed the comparison is about: ours over HTTP, or offline where there is no server."""
    return "ours" if "ours" in results.systems(case) else "offline"


def comparisons(results: Results, case: str) -> list[Comparison]:
    """The subject against every other system of the case.

    Repetition by repetition, then the median: what slows a whole repetition slows both.
    """
    name = subject(results, case)
    ratio = sharing_ratio(results, case, name)
    found = []
    for base in results.systems(case):
        if base != name:
            speedup = relative(results, (case, name), (case, base))
            found.append(Comparison(base, speedup, speedup / ratio))
    return found


def relative(results: Results, one: tuple[str, str], other: tuple[str, str]) -> float:
    """Median over repetitions of the rewards/s of one (case, system) by those of another."""
    speeds = [
        {r.repetition: r.rewards / r.makespan_s for r in results.of(*pair)} for pair in (one, other)
    ]
    return statistics.median(speeds[0][n] / speeds[1][n] for n in speeds[0] if n in speeds[1])


def percentile(ordered: Sequence[float], share: float) -> float:
    """Of sorted values, the nearest rank."""
    return ordered[max(0, math.ceil(round(share * len(ordered), 6)) - 1)]
