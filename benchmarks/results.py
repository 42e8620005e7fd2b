"""What a run leaves: every burst's numbers, as they are written to and read from JSON; no statistics."""

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.plan import ALL


@dataclass(frozen=True, slots=True)
class Record:
    """One burst of one system. FLOPs are those of its own traffic, by arithmetic."""

    case: str
    system: str
    repetition: int
    rewards: int
    makespan_s: float
    tail_s: float
    tokens: int  # naive: every response's whole sequence
    computed_tokens: int
    padding_tokens: int
    cpu_s: float
    peak_bytes: int
    client_cpu_s: float
    naive_flops: float
    necessary_flops: float
    difference: float | None  # from the reference; of the first repetition only


@dataclass(frozen=True, slots=True)
class Latency:
    """Latencies of calls that arrived at random, at a share of the system's measured rate."""

    case: str
    system: str
    load: float
    calls_per_s: float
    latencies_s: list[float]
    tail_s: float


@dataclass(slots=True)
class Results:
    plan: str
    facts: dict[str, str]
    ceiling_flops_per_s: float
    cases: dict[str, str]  # name → title
    whole: dict[str, str]  # case of separate siblings → case of the same groups sent whole
    repetitions: int = 0
    elapsed_s: float = 0.0
    unavailable: dict[str, str] = field(default_factory=dict)  # system → why
    records: list[Record] = field(default_factory=list)
    latencies: list[Latency] = field(default_factory=list)
    how: list[str] = field(default_factory=list)  # sentences about how it was measured

    def of(self, case: str, system: str) -> list[Record]:
        return [r for r in self.records if r.case == case and r.system == system]

    def systems(self, case: str) -> list[str]:
        """Those that ran, in the order of the reports."""
        ran = {r.system for r in self.records if r.case == case}
        return [name for name in ALL if name in ran]


def write(results: Results, path: Path) -> None:
    path.write_text(json.dumps(dataclasses.asdict(results), indent=1) + "\n", "utf-8")


def read(path: Path) -> Results:
    values: dict[str, Any] = json.loads(path.read_text("utf-8"))
    values["records"] = [Record(**one) for one in values["records"]]
    values["latencies"] = [Latency(**one) for one in values["latencies"]]
    return Results(**values)
