"""What one replica gives by step budget: rewards/s of a burst, and latencies of a steady minute at 70 % of that.

`python -m benchmarks.sizing [--checkpoint DIR] [--budgets 2048 4096 …] [--traffic A8 B C]`: the table of
docs/operations.md, for the checkpoint and the machine it runs on. Replicas = rewards/s wanted / (rewards/s here * 0.7).
"""

import argparse
import statistics
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks import checkpoints
from benchmarks.outcome import Outcome
from benchmarks.processes import unwind_on_sigterm
from benchmarks.systems import Served, System
from benchmarks.traffic import Spec, generate

STEADY_S = 60.0  # of calls that arrive at random
LOAD = 0.7  # of the burst's rate: where waiting begins to show, and room is left for a burst
TRAFFIC = {
    "A8": Spec("A", 8, group=8, image_tokens=256, seed=41),
    "A16": Spec("A", 4, group=16, image_tokens=1024, seed=42),
    "B": Spec("B", 64, image_tokens=256, seed=43),
    "C": Spec("C", 256, median_tokens=24, seed=44),
}
WARM_UP = Spec("A", 2, group=2, image_tokens=64, seed=45)
# What is kept from one burst must not answer the next.
FRESH = ("--feature-bank-bytes", "0", "--prepared-cache-bytes", "0")


@dataclass(frozen=True, slots=True)
class Row:
    traffic: str
    budget: int  # tokens a step
    bursts: list[Outcome]
    steady: Outcome

    def __str__(self) -> str:
        rate = statistics.median(burst.rewards_per_s for burst in self.bursts)
        tokens = statistics.median(b.computed_tokens / b.makespan_s for b in self.bursts)
        p50, p99 = np.quantile(self.steady.latencies_s, (0.5, 0.99))
        peak = max(burst.peak_bytes for burst in self.bursts) / 2**20
        return (
            f"| {self.traffic} | {self.budget:,} | {rate:.3g} | {tokens:,.0f} "
            f"| {p50:.2f} | {p99:.2f} | {peak:,.0f} |"
        )


def measured(folder: Path, budget: int, traffic: Sequence[str], repetitions: int) -> Iterator[Row]:
    def command(checkpoint: Path, port: int) -> list[str]:
        serve = [sys.executable, "-m", "service", "serve", "--checkpoint", str(checkpoint)]
        return [*serve, "--port", str(port), "--max-batch-tokens", str(budget), *FRESH]

    system = System(f"sizing-{budget}", command, ready="/readyz")
    served = Served(system, folder, checkpoints.CACHE / "logs")
    try:
        served.wait()
        served.burst(WARM_UP, generate(WARM_UP, folder))
        for name in traffic:
            yield _row(served, folder, budget, name, repetitions)
    finally:
        served.close()


def _row(served: Served, folder: Path, budget: int, name: str, repetitions: int) -> Row:
    spec = TRAFFIC[name]
    calls = generate(spec, folder)
    bursts = [served.burst(spec, calls) for _ in range(repetitions)]
    rate = statistics.median(burst.rewards_per_s for burst in bursts)
    calls_per_s = LOAD * rate * len(calls) / len(bursts[0].rewards)
    steady = generate(spec.sized(round(calls_per_s * STEADY_S), spec.seed + 1), folder)
    return Row(name, budget, bursts, served.poisson(steady, calls_per_s, spec.seed))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, help="default: the 50M model of the benchmarks")
    parser.add_argument("--budgets", type=int, nargs="+", default=[1024, 2048, 4096, 8192])
    parser.add_argument("--traffic", nargs="+", choices=TRAFFIC, default=list(TRAFFIC))
    parser.add_argument("--repetitions", type=int, default=3, help="bursts; the median is said")
    arguments = parser.parse_args()
    unwind_on_sigterm()
    folder = arguments.checkpoint or checkpoints.ensure("50m")
    say(
        "| traffic | budget, tokens | rewards/s | computed tokens/s | p50, s | p99, s | peak RSS, MiB |"
    )
    say("|---|---|---|---|---|---|---|")
    for budget in arguments.budgets:
        for row in measured(folder, budget, arguments.traffic, arguments.repetitions):
            say(str(row))


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
