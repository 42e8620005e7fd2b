"""Runs a plan: every repetition sends every case through every system in turn; how systems work is theirs."""

import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks import reference
from benchmarks.baselines.stock import StockModel
from benchmarks.flops import Shape, naive, necessary
from benchmarks.load import Refused
from benchmarks.outcome import Outcome, Runner, Unavailable
from benchmarks.plan import Case, Plan
from benchmarks.reference import Reference
from benchmarks.results import Latency, Record, Results
from benchmarks.shapes import Shapes
from benchmarks.systems import Served
from benchmarks.traffic import Call, Spec, generate

WARM_UP = (Spec("A", 1, group=2, image_tokens=16, seed=90_001), Spec("C", 2, seed=90_002))
_LATENCY_SEED = 80_000
_FEWEST, _MOST = 8, 200  # calls of a latency run


class Run:
    """One run of a plan, and what it has given so far."""

    def __init__(self, plan: Plan, folder: Path, shape: Shape, results: Results) -> None:
        self.plan, self.results = plan, results
        self._folder, self._shape = folder, shape
        self._shapes = Shapes(folder)
        self._references: dict[str, Reference] = {}
        self._begin = time.monotonic()

    def say(self, text: str) -> None:
        minutes, seconds = divmod(round(time.monotonic() - self._begin), 60)
        sys.stderr.write(f"[{minutes:02d}:{seconds:02d}] {text}\n")

    def add_references(self, model: StockModel) -> None:
        for case in self.plan.cases:
            calls = self._calls(case, case.smallest, 0)
            self._references[case.name] = reference.compute(
                model, case.name, calls, self.plan.reference_rows
            )
            self.say(f"reference of {case.name} is known")

    def wait(self, runners: Sequence[Runner]) -> list[Runner]:
        """Those that get ready, warmed up."""
        return [runner for runner in runners if self._warm(runner)]

    def bursts(self, runners: Sequence[Runner]) -> None:
        """Repetitions until all are done or the next would end after the budget."""
        took = 0.0
        for repetition in range(self.plan.repetitions):
            begin = time.monotonic()
            if begin - self._begin + took > self.plan.budget_s and repetition:
                self.say(f"no time left for repetition {repetition + 1}")
                break
            for case in self.plan.cases:
                self._repeat(case, runners, repetition)
            took = time.monotonic() - begin
            self.results.repetitions = repetition + 1
        self.results.elapsed_s = time.monotonic() - self._begin

    def latencies(self, runners: Sequence[Runner]) -> None:
        """Open-loop runs at shares of each system's own measured rate."""
        up = [runner for runner in runners if runner.name not in self.results.unavailable]
        served = [runner for runner in up if isinstance(runner, Served)]
        for case in self.plan.cases:
            for load in self.plan.loads:
                for system in served:
                    if system.name in case.calls:
                        self._latency(case, load, system)
        self.results.elapsed_s = time.monotonic() - self._begin

    def _warm(self, runner: Runner) -> bool:
        try:
            runner.wait()
            for spec in WARM_UP:
                runner.burst(spec, generate(spec, self._folder))
        except (Refused, Unavailable, OSError) as error:
            self._drop(runner, str(error))
            return False
        self.say(f"{runner.name} is ready and warm")
        return True

    def _drop(self, runner: Runner, why: str) -> None:
        """The others go on without it; the report says why."""
        self.results.unavailable[runner.name] = why
        self.say(f"{runner.name}: {why}")

    def _repeat(self, case: Case, runners: Sequence[Runner], repetition: int) -> None:
        """Every system once; each repetition begins with another one."""
        start = repetition % len(runners)
        for runner in [*runners[start:], *runners[:start]]:
            if runner.name not in case.calls or runner.name in self.results.unavailable:
                continue
            size = case.calls[runner.name]
            calls = self._calls(case, size, repetition)
            try:
                outcome = runner.burst(case.spec.sized(size, self._seed(case, repetition)), calls)
            except (Refused, Unavailable, OSError) as error:
                self._drop(runner, f"it failed in {case.name}: {error}")
                continue
            self.results.records.append(self._record(case, runner.name, repetition, calls, outcome))
            self.say(
                f"{case.name} {repetition + 1}/{self.plan.repetitions} {runner.name}: "
                f"{outcome.rewards_per_s:.3g} rewards/s ({outcome.makespan_s:.1f} s)"
            )

    def _record(
        self, case: Case, system: str, repetition: int, calls: Sequence[Call], outcome: Outcome
    ) -> Record:
        groups = self._shapes.groups(calls)
        known = self._references[case.name] if repetition == 0 else None
        return Record(
            case=case.name,
            system=system,
            repetition=repetition,
            rewards=len(outcome.rewards),
            makespan_s=outcome.makespan_s,
            tail_s=outcome.tail_s,
            tokens=outcome.tokens,
            computed_tokens=outcome.computed_tokens,
            padding_tokens=outcome.padding_tokens,
            cpu_s=outcome.cpu_s,
            peak_bytes=outcome.peak_bytes,
            client_cpu_s=outcome.client_cpu_s,
            naive_flops=naive(self._shape, groups),
            necessary_flops=necessary(self._shape, groups),
            difference=known.worst(outcome.rewards) if known else None,
        )

    def _latency(self, case: Case, load: float, system: Served) -> None:
        bursts = self.results.of(case.name, system.name)
        calls_per_burst = case.calls[system.name] * (case.spec.group if case.whole else 1)
        capacity = calls_per_burst * len(bursts) / sum(b.makespan_s for b in bursts)
        rate = load * capacity
        count = min(_MOST, max(_FEWEST, round(rate * self.plan.latency_s)))
        seed = _LATENCY_SEED + round(100 * load) + self._seed(case, 0)
        calls = generate(case.spec.sized(count, seed), self._folder)[:count]
        outcome = system.poisson(calls, rate, seed)
        latency = Latency(
            case.name, system.name, load, rate, sorted(outcome.latencies_s), outcome.tail_s
        )
        self.results.latencies.append(latency)
        self.say(f"{case.name} {system.name} at {load:.0%} load: {len(calls)} calls")

    def _calls(self, case: Case, size: int, repetition: int) -> list[Call]:
        return generate(case.spec.sized(size, self._seed(case, repetition)), self._folder)

    def _seed(self, case: Case, repetition: int) -> int:
        """Another for every case and repetition: no cache may know a text or picture already."""
        return 1 + 100 * repetition + self.plan.cases.index(case)
