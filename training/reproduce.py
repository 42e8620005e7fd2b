"""Reproduction: train every seed, evaluate, ship by the rule, print the table."""

from __future__ import annotations

import argparse
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from training.evaluate import RESULTS

SEEDS = (4, 5, 6)
MINUTES = 19.0


def command(module: str, *arguments: str) -> None:
    """Run one of the training commands and stop at the first failure."""
    line = [sys.executable, "-m", f"training.{module}", *arguments]
    done = subprocess.run(line, check=False)  # noqa: S603, our own modules
    if done.returncode:
        raise SystemExit(f"training.{module} failed with status {done.returncode}; see above")


def train(seed: int, out: Path, minutes: float) -> str:
    """Train one seed; returns its folder."""
    folder = str(out / f"seed-{seed}")
    command("train", "--seed", str(seed), "--out", folder, "--cpu-minutes", str(minutes))
    return folder


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m training.reproduce", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs"), help="folder for the runs")
    parser.add_argument(
        "--cpu-minutes", type=float, default=MINUTES, help=f"CPU time a seed (default: {MINUTES:g})"
    )
    parser.add_argument("--jobs", type=int, default=2, help="seeds side by side (default: 2)")
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS, help="default: 4 5 6")
    return parser.parse_args()


def main() -> None:
    """Train, evaluate, ship, print the table."""
    options = parse()
    with ThreadPoolExecutor(options.jobs) as pool:
        runs = list(
            pool.map(lambda seed: train(seed, options.out, options.cpu_minutes), options.seeds)
        )
    jobs = ("--jobs", str(options.jobs))
    command("evaluate", *runs, "--json", str(RESULTS), *jobs)
    command("ship", *runs, *jobs)
    command("table")


if __name__ == "__main__":
    main()
