"""results.json: the records of runs, one for each settings; what they mean on a page is in report."""

import json
from pathlib import Path
from typing import Any

Record = dict[str, Any]


def read(path: Path) -> list[Record]:
    return list(json.loads(path.read_text("utf-8"))["runs"]) if path.exists() else []


def add(record: Record, path: Path) -> None:
    """Put a run into the file, in the place of one with the same settings."""
    record = json.loads(json.dumps(record))  # as it will be read: lists for tuples
    runs = [run for run in read(path) if run["settings"] != record["settings"]]
    runs = sorted([*runs, record], key=lambda run: json.dumps(run["settings"], sort_keys=True))
    path.write_text(json.dumps({"runs": runs}, indent=1) + "\n", "utf-8")


def line(record: Record) -> str:
    """A run in one line."""
    first, last = record["history"][0], record["history"][-1]
    return (
        f"seed {record['settings']['seed']}: true held-out accuracy {percent(first['right']['all'])} to "
        f"{percent(last['right']['all'])}, mean reward {first['held_out_reward']:.2f} to "
        f"{last['held_out_reward']:.2f}, {record['rewards']} rewards in {record['seconds']:.0f} s"
    )


def percent(counts: list[int]) -> str:
    return f"{100 * counts[0] / counts[1]:.1f} %"
