"""Evaluation: pair accuracy of checkpoints with the true, another and an empty picture."""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import torch
from tqdm import tqdm

from training.cases import CONDITIONS, Case, count_right, phrasing_cases, split_cases
from training.scoring import Scorer
from training.splits import Split

TESTS = ("pairings", "combos", "phrasings")
# The scenes that choose the shipped seed and the scenes that are reported never mix.
VALIDATION_SEED, TEST_SEED = "validation", "test-2"
SCENES, PHRASING_SCENES, QUICK_SCENES = 80, 20, 10
DEMO = Path(__file__).parents[1] / "service" / "demo" / "checkpoint"
RESULTS = Path(__file__).with_name("results.json")


@dataclass(frozen=True)
class Job:
    """One checkpoint, one test, one condition."""

    folder: Path
    test: str
    condition: str
    scenes: int
    phrasing_scenes: int


def make_cases(job: Job) -> list[Case]:
    """Draw a test's questions; the same for every checkpoint."""
    if job.test == "phrasings":
        return phrasing_cases(Split("pairings"), TEST_SEED, job.phrasing_scenes)
    if job.test == "validation":
        return split_cases(Split("pairings"), VALIDATION_SEED, job.scenes)
    return split_cases(Split(job.test), TEST_SEED, job.scenes)


def run_job(job: Job) -> dict[str, list[int]]:
    """Score one test of one checkpoint on one thread."""
    torch.set_num_threads(1)
    return count_right(Scorer(job.folder), make_cases(job), job.condition)


def jobs_for(folders: list[Path], scenes: int, phrasing_scenes: int) -> Iterator[Job]:
    """List all the work: validation with the true picture, every test in every condition."""
    for folder in folders:
        yield Job(folder, "validation", "true", scenes, phrasing_scenes)
        for test in TESTS:
            for condition in CONDITIONS:
                yield Job(folder, test, condition, scenes, phrasing_scenes)


def run_jobs(jobs: list[Job], workers: int) -> dict[Job, dict[str, list[int]]]:
    """Do the work in a few processes, with one progress bar."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        waiting = {pool.submit(run_job, job): job for job in jobs}
        done = tqdm(as_completed(waiting), total=len(jobs), unit="test", file=sys.stderr)
        return {waiting[future]: future.result() for future in done}


def read_run(folder: Path) -> dict[str, float]:
    """Read what the training run wrote about itself, where it wrote anything."""
    path = folder / "run.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def evaluate(folders: list[Path], scenes: int, phrasing_scenes: int, workers: int) -> list[dict]:
    """Evaluate checkpoints: one record each, counts as [right pairs, pairs]."""
    jobs = list(jobs_for(folders, scenes, phrasing_scenes))
    counts = run_jobs(jobs, workers)
    records = []
    for folder in folders:
        weights = (folder / "model.safetensors").read_bytes()
        digest = hashlib.sha256(weights).hexdigest()
        record: dict = {"run": folder.name, **read_run(folder), "sha256": digest}
        for job in (job for job in jobs if job.folder == folder):
            record.setdefault(job.test, {})[job.condition] = counts[job]
        records.append(record)
    return records


def share(counts: list[int]) -> float:
    """Turn [right, pairs] into a share."""
    return counts[0] / counts[1]


def summary(record: dict) -> str:
    """Say a record's totals in a few lines."""
    lines = [record["run"]]
    for test in TESTS:
        shares = ", ".join(f"{c} {share(record[test][c]['all']):.1%}" for c in CONDITIONS)
        lines.append(f"  {test}: {shares}")
    return "\n".join(lines)


def choose(records: list[dict]) -> dict:
    """Pick the checkpoint to ship: best on the validation scenes of the held-out pairings."""
    return max(records, key=lambda record: share(record["validation"]["true"]["all"]))


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m training.evaluate", description=__doc__)
    parser.add_argument("runs", type=Path, nargs="*", help="folders written by training.train")
    parser.add_argument("--demo", action="store_true", help="evaluate the shipped checkpoint")
    parser.add_argument("--quick", action="store_true", help="a few scenes only, under a minute")
    parser.add_argument("--json", type=Path, help="write the counts to this file")
    parser.add_argument("--jobs", type=int, default=2, help="processes (default: 2)")
    options = parser.parse_args()
    if options.demo:
        options.runs.append(DEMO)
    missing = [run for run in options.runs if not (run / "model.safetensors").is_file()]
    if missing or not options.runs:
        parser.error(f"no checkpoint in {missing}" if missing else "name a run folder, or --demo")
    return options


def main() -> None:
    """Evaluate, print the totals, write the counts."""
    options = parse()
    scenes = (QUICK_SCENES, 2) if options.quick else (SCENES, PHRASING_SCENES)
    records = evaluate(options.runs, *scenes, options.jobs)
    print("\n".join(summary(record) for record in records))
    if options.json:
        text = json.dumps({"scenes": scenes, "runs": records}, indent=1) + "\n"
        options.json.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
