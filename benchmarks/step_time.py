"""`python -m benchmarks.step_time CASE`: where the time of a case's steps goes on a CPU; nothing is served.

What products and attention alone would allow is the most that work on all else could give.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks import checkpoints
from benchmarks.offline import Offline
from benchmarks.plan import BENCH, Case
from benchmarks.systems import THREADS
from benchmarks.traffic import generate
from service.commands import malloc

_PRODUCTS = ("mkldnn::_linear_pointwise", "aten::addmm", "aten::mm")
_ATTENTION = ("aten::_scaled_dot_product_flash_attention_for_cpu",)


@dataclass(frozen=True, slots=True)
class StepTime:
    """Of one burst, in seconds."""

    whole_s: float
    products_s: float
    attention_s: float


def measure(offline: Offline, case: Case, folder: Path, seed: int) -> StepTime:
    """Two bursts of equal work. The profiler, which slows what is around the operators, sees the second alone."""

    def burst(number: int) -> float:
        spec = case.spec.sized(case.calls["offline"], number)
        return offline.burst(spec, generate(spec, folder)).makespan_s

    whole_s = burst(2 * seed)
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        burst(2 * seed + 1)
    took_s = {event.key: event.self_cpu_time_total / 1e6 for event in seen.key_averages()}
    products_s, attention_s = (
        sum(took_s.get(name, 0.0) for name in names) for names in (_PRODUCTS, _ATTENTION)
    )
    return StepTime(whole_s, products_s, attention_s)


def describe(times: Sequence[StepTime], rewards: int) -> str:
    """Medians, and their shares of the whole."""
    whole_s = median(time.whole_s for time in times)
    products_s = median(time.products_s for time in times)
    attention_s = median(time.attention_s for time in times)
    alone_s = products_s + attention_s
    parts = {"products": products_s, "attention": attention_s, "all else": whole_s - alone_s}
    lines = [f"{'whole':<10} {whole_s:7.3f} s  {rewards / whole_s:5.3g} rewards/s"]
    lines += [f"{name:<10} {s:7.3f} s  {s / whole_s:5.0%}" for name, s in parts.items()]
    return "\n".join([*lines, f"products and attention alone: {rewards / alone_s:.3g} rewards/s"])


def main() -> None:
    cases = {case.name: case for case in BENCH.cases if "offline" in case.calls}
    parser = argparse.ArgumentParser(prog="python -m benchmarks.step_time", description=__doc__)
    parser.add_argument("case", choices=list(cases))
    parser.add_argument("--repetitions", type=int, default=5)
    chosen = parser.parse_args()
    malloc.keep_freed()  # as the server does
    torch.set_num_threads(THREADS)
    case, folder = cases[chosen.case], checkpoints.ensure(BENCH.preset)
    offline = Offline(folder)
    times = [measure(offline, case, folder, seed) for seed in range(chosen.repetitions + 1)]
    rewards = case.calls["offline"] * case.spec.group
    sys.stdout.write(describe(times[1:], rewards) + "\n")  # without the first, which warms up


if __name__ == "__main__":
    main()
