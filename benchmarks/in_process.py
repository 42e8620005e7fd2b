"""The comparison without HTTP, for a machine that has torch and transformers only: stock serial, stock padded, ours."""

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch

from benchmarks import checkpoints, machine
from benchmarks.baselines.stock import Row, StockModel
from benchmarks.flops import shape_of
from benchmarks.outcome import Outcome, Runner
from benchmarks.plan import Plan
from benchmarks.results import Results
from benchmarks.run import Run
from benchmarks.traffic import Call, Spec

MAX_ROWS = 32
HOW = (
    "All systems run in one process, without HTTP: decoding and tokenising are done beforehand, and not timed.",
    "serial is one forward pass for each call (its whole group padded, as `serve_rm` does); padded is one for each "
    "32 rows in order of arrival; offline is our model code on prepared steps.",
    "Peak memory is what the pass needs above the weights.",
)

Batches = Callable[[list[list[Row]]], Iterator[list[Row]]]


class Stock:
    """Stock transformers over prepared rows, batched in one of two ways."""

    def __init__(self, name: str, model: StockModel, batches: Batches) -> None:
        self.name, self._model, self._batches = name, model, batches

    def wait(self) -> None:
        """Loaded already."""

    def burst(self, spec: Spec, calls: Sequence[Call]) -> Outcome:  # noqa: ARG002 - Runner's
        rows = [self._model.rows(call.prompt, call.image, call.responses) for call in calls]
        batches = list(self._batches(rows))
        memory = machine.PeakMemory(self._model.device.type)
        cpu_s, begin = time.process_time(), time.perf_counter()
        rewards = [reward for batch in batches for reward in self._model.score(batch)]
        seconds = (
            time.perf_counter() - begin
        )  # rewards are on the host: nothing is left to wait for
        tokens = sum(len(row.ids) for batch in batches for row in batch)
        executed = sum(len(batch) * max(len(row.ids) for row in batch) for batch in batches)
        return Outcome(
            rewards=rewards,
            makespan_s=seconds,
            tail_s=seconds,
            latencies_s=[],
            tokens=tokens,
            shared_tokens=0,
            padding_tokens=executed - tokens,
            cpu_s=time.process_time() - cpu_s,
            peak_bytes=memory.peak_bytes(),
        )

    def close(self) -> None:
        del self._model


def by_call(rows: list[list[Row]]) -> Iterator[list[Row]]:
    yield from rows


def by_count(rows: list[list[Row]]) -> Iterator[list[Row]]:
    flat = [row for call in rows for row in call]
    for start in range(0, len(flat), MAX_ROWS):
        yield flat[start : start + MAX_ROWS]


def run(plan: Plan, device: str, cache: Path = checkpoints.CACHE) -> Results:
    """The plan on one device; bfloat16 on CUDA, float32 on a CPU.

    The reference is the stock model one by one at the same precision.
    """
    from benchmarks.offline import Offline

    name = "bfloat16" if device == "cuda" else "float32"
    dtype = getattr(torch, name)
    folder = checkpoints.ensure(plan.preset, name, cache)
    shape = shape_of(checkpoints.config(folder))
    tokens = 8192 if device == "cuda" else 256
    results = Results(
        plan=plan.name,
        facts=machine.describe(device),
        ceiling_flops_per_s=machine.ceiling(shape, device, dtype, tokens),
        cases={case.name: case.title for case in plan.cases},
        whole={},
        how=[*HOW, f"Precision: {name}."],
    )
    run = Run(plan, folder, shape, results)
    run.say("loading the stock model")
    stock = StockModel(folder, device, dtype)
    run.say("loading our model")
    ours = Offline(folder, device, name)
    run.add_references(stock)
    runners: list[Runner] = [Stock("serial", stock, by_call), Stock("padded", stock, by_count)]
    run.bursts(run.wait([*runners, ours]))
    return results
