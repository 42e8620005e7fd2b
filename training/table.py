"""Table: results.json as Markdown."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from training.cases import CONDITIONS
from training.evaluate import RESULTS, TESTS, choose, share
from training.facts import KINDS

MARKDOWN = Path(__file__).with_name("results.md")
NAMES = {
    "pairings": "held-out pairings",
    "combos": "held-out combinations",
    "phrasings": "held-out phrasings",
    "true": "its own picture",
    "shuffled": "another scene's picture",
    "blank": "a blank picture",
}
ENOUGH = 0.8


def percent(counts: list[int] | None) -> str:
    """Write counts as a percentage."""
    return f"{100 * share(counts):.1f} %" if counts else "-"


def rows(head: list[str], body: list[list[str]]) -> str:
    """Write a Markdown table."""
    lines = [head, ["---"] * len(head), *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def heads(records: list[dict]) -> list[str]:
    """Name the seed columns; the shipped one is marked."""
    chosen = choose(records)["run"]
    marks = {r["run"]: " (shipped)" if r["run"] == chosen else "" for r in records}
    return [f"seed {r.get('seed', r['run'])}{marks[r['run']]}" for r in records]


def totals(records: list[dict]) -> str:
    """Tabulate every test in every condition, one column a seed."""
    body = [
        [NAMES[test], NAMES[condition], *(percent(r[test][condition]["all"]) for r in records)]
        for test in TESTS
        for condition in CONDITIONS
    ]
    return rows(["test", "picture", *heads(records)], body)


def kinds(records: list[dict]) -> str:
    """Tabulate the held-out pairings and combinations by kind of question."""
    body = [
        [kind, NAMES[test], *(percent(r[test]["true"].get(kind)) for r in records)]
        for kind in KINDS
        for test in ("pairings", "combos")
    ]
    return rows(["kind", "test", *heads(records)], body)


def by_phrasing(record: dict) -> dict[str, list[int]]:
    """A record's counts for each held-out wording, with the true picture."""
    counts = record["phrasings"]["true"]
    return {wording: pair for wording, pair in counts.items() if wording != "all"}


def wordings(records: list[dict]) -> str:
    """Tabulate the held-out wordings."""
    counts = [by_phrasing(record) for record in records]
    body = [[f"`{wording}`", *(percent(c[wording]) for c in counts)] for wording in counts[0]]
    return rows(["wording", *heads(records)], body)


def enough(records: list[dict]) -> str:
    """Say how many wordings each seed gets right often enough."""
    parts = []
    for name, record in zip(heads(records), records, strict=True):
        counts = by_phrasing(record)
        good = sum(share(pair) >= ENOUGH for pair in counts.values())
        parts.append(f"{name}: {good} of {len(counts)}")
    return f"Wordings with at least {ENOUGH:.0%} of pairs right: {'; '.join(parts)}."


def runs(records: list[dict]) -> str:
    """Tabulate cost and validation accuracy."""
    body = [
        [
            name,
            f"{r['steps']}",
            f"{r['cpu_seconds'] / 60:.1f}",
            percent(r["validation"]["true"]["all"]),
        ]
        for name, r in zip(heads(records), records, strict=True)
    ]
    return rows(["run", "steps", "CPU-minutes", "validation pairs right"], body)


def render(results: dict) -> str:
    """Write the whole report."""
    records = results["runs"]
    pairs = ", ".join(f"{NAMES[t]} {records[0][t]['true']['all'][1]}" for t in TESTS)
    parts = [
        "Share of (right, wrong) answer pairs in which the right answer scores higher; 50 % is "
        f"chance. Pairs per cell: {pairs}. Each column is one training seed.",
        totals(records),
        "By kind of question, with the true picture:",
        kinds(records),
        enough(records),
        wordings(records),
        "Cost, and the validation accuracy that decides which seed ships:",
        runs(records),
    ]
    return "\n\n".join(parts) + "\n"


def main() -> None:
    """Read the command line and write the table."""
    parser = argparse.ArgumentParser(prog="python -m training.table", description=__doc__)
    parser.add_argument("--json", type=Path, default=RESULTS, help="counts to read")
    parser.add_argument("--out", type=Path, default=MARKDOWN, help="Markdown file to write")
    options = parser.parse_args()
    if not options.json.is_file():
        parser.error(f"{options.json} is missing; run python -m training.evaluate --json first")
    text = render(json.loads(options.json.read_text(encoding="utf-8")))
    options.out.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
