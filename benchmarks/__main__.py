"""`python -m benchmarks --set NAME`: puts systems, traffic and report together; measures nothing itself."""

import argparse
import sys
from contextlib import ExitStack
from pathlib import Path

import torch

from benchmarks import checkpoints, in_process, machine, report
from benchmarks.baselines.stock import StockModel
from benchmarks.flops import shape_of
from benchmarks.outcome import Runner, Unavailable
from benchmarks.plan import PLANS, Plan
from benchmarks.results import Results, write
from benchmarks.run import Run

RESULTS = Path(__file__).parent / "results"
THREADS = 2
HOW_SERVED = (
    "Every system is an HTTP server in processes of its own with 2 threads, float32 and the same checkpoint; "
    "all are up for the whole run, and stopped (SIGSTOP) while another is measured.",
    "The load generator is a process of its own on the same cores; its CPU time is in the raw data.",
)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--set", choices=list(PLANS), default="bench")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the report")
    parser.add_argument("--device", choices=["cuda", "cpu"], help="of the gpu sets [cuda, cpu]")
    chosen = parser.parse_args()
    plan: Plan = PLANS[chosen.set]
    if plan.name.startswith("gpu"):
        device = chosen.device or ("cuda" if plan.name == "gpu" else "cpu")
        results = in_process.run(plan, device)
    else:
        results = served(plan)
    chosen.out.mkdir(parents=True, exist_ok=True)
    write(results, chosen.out / f"{plan.name}.json")
    report.write(results, chosen.out)
    sys.stderr.write(f"wrote {chosen.out / plan.name}.md, .png and .json\n")
    return 0


def served(plan: Plan) -> Results:
    """All systems as processes, all started before the first is measured."""
    torch.set_num_threads(THREADS)
    folder = checkpoints.ensure(plan.preset)
    shape = shape_of(checkpoints.config(folder))
    results = Results(
        plan=plan.name,
        facts=machine.describe("cpu"),
        ceiling_flops_per_s=machine.ceiling(shape, "cpu", torch.float32),
        cases={case.name: case.title for case in plan.cases},
        whole={case.name: case.whole for case in plan.cases if case.whole},
        how=list(HOW_SERVED),
    )
    run = Run(plan, folder, shape, results)
    with ExitStack() as stack:
        runners = _start(plan, folder, results, stack)
        run.add_references(StockModel(folder))
        ready = run.wait(runners)
        run.bursts(ready)
        run.latencies(ready)
    return results


def _start(plan: Plan, folder: Path, results: Results, stack: ExitStack) -> list[Runner]:
    from benchmarks.offline_process import OfflineProcess
    from benchmarks.systems import SYSTEMS, Served

    logs, runners = checkpoints.CACHE / "logs", list[Runner]()
    for name in dict.fromkeys(name for case in plan.cases for name in case.calls):
        try:
            runner = (
                OfflineProcess(folder, logs)
                if name == "offline"
                else Served(SYSTEMS[name], folder, logs)
            )
        except Unavailable as error:
            results.unavailable[name] = str(error)
            continue
        stack.callback(runner.close)
        runners.append(runner)
    return runners


if __name__ == "__main__":
    sys.exit(main())
