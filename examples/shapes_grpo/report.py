"""`python -m examples.shapes_grpo.report [FILE]`: keeps a results.json beside the example, writes the page and plot."""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import fmean
from typing import Any

from examples.shapes_grpo.exam import interval
from examples.shapes_grpo.plot import draw
from examples.shapes_grpo.results import Record, percent, read
from examples.shapes_grpo.run import SIBLINGS, Settings
from examples.shapes_grpo.world import VALUES

HERE = Path(__file__).parent
RESULTS, TEMPLATE = HERE / "results.json", HERE / "page.md"
PAGE = HERE.parents[1] / "docs" / "learning-run.md"
PLOT = "learning-run.png"
EARLY = 100  # the step at which runs are compared
COMMANDS = """\
.venv/bin/python -m examples.shapes_grpo --seed {seeds}
.venv/bin/python -m examples.shapes_grpo --unguided --steps {free}
.venv/bin/python -m examples.shapes_grpo --kl {kl:g}
.venv/bin/python -m examples.shapes_grpo.report runs/shapes_grpo/results.json"""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m examples.shapes_grpo.report")
    parser.add_argument("file", type=Path, nargs="?", default=RESULTS, help="of finished runs")
    chosen = parser.parse_args()
    runs = read(chosen.file)
    text = page(runs)  # before anything is written: runs of other settings make no page
    if not draw(learning(runs), PAGE.with_name(PLOT)):
        parser.error("matplotlib is needed: pip install -e '.[bench]'")
    RESULTS.write_text(chosen.file.read_text("utf-8"), "utf-8")
    PAGE.write_text(text, "utf-8")
    sys.stderr.write(f"wrote {PAGE} and {PLOT}\n")
    return 0


def learning(runs: Sequence[Record]) -> list[Record]:
    """The runs with the default settings, by seed."""
    kept = [run for run in runs if not _changed(run) - {"seed"}]
    return sorted(kept, key=lambda run: int(run["settings"]["seed"]))


def _changed(run: Record) -> set[str]:
    """The names of the settings that are not the default ones."""
    default = json.loads(json.dumps(asdict(Settings())))
    return {name for name, value in run["settings"].items() if value != default[name]}


def page(runs: Sequence[Record]) -> str:
    whole = learning(runs)
    (free,) = (run for run in runs if _changed(run) == {"guided", "steps"})
    (weak,) = (run for run in runs if _changed(run) == {"kl"})
    text = TEMPLATE.read_text("utf-8")
    seeds = " ".join(str(run["settings"]["seed"]) for run in whole)
    commands = COMMANDS.format(
        seeds=seeds, free=free["settings"]["steps"], kl=weak["settings"]["kl"]
    )
    said = _said(whole) | _unguided(free) | _weak(weak, whole)
    return text.format(commands=commands, **said)


def _said(runs: Sequence[Record]) -> dict[str, Any]:
    settings, last = runs[0]["settings"], [run["history"][-1]["right"]["all"] for run in runs]
    first = [run["history"][0]["right"]["all"] for run in runs]
    return {
        "weights": f"{runs[0]['weights']:,}",
        **{name: settings[name] for name in ("steps", "every", "groups", "kl")},
        "siblings": SIBLINGS,
        "asked": last[0][1],
        "before": _range(first),
        "after": _range(last),
        "main": _main(runs),
        "kinds": _kinds(runs),
        "inside": _inside(runs),
        "chance": f"{100 * _chance(runs[0]):.1f} %",
        "plot": PLOT,
        "cpus": runs[0]["machine"]["cpus"],
        **runs[0]["served"],
        "wrong": _listed(asked - right for right, asked in last),
        "over": _listed(run["overrated"][0] for run in runs),
        "judge": percent(runs[0]["judge"]),
    }


def _unguided(run: Record) -> dict[str, Any]:
    first, last = run["history"][0], run["history"][-1]
    examples = [
        f"  > {question} ({right}) “{answer}”: {score:.2f}"
        for question, right, answer, score in run["examples"][:4]
    ]
    return {
        "free_first": f"{first['held_out_reward']:.2f}",
        "free_last": f"{last['held_out_reward']:.2f}",
        "free_steps": run["settings"]["steps"],
        "free_right": percent(last["right"]["all"]),
        "free_named": percent(last["named"]),
        "free_over": percent(run["overrated"]),
        "free_examples": "  >\n".join(f"{line}\n" for line in examples).rstrip(),
    }


def _weak(run: Record, whole: Sequence[Record]) -> dict[str, Any]:
    """Beside the run that differs in nothing else, early and at the end."""
    settings = run["settings"]
    same = next(other for other in whole if other["settings"]["seed"] == settings["seed"])
    said = {"weak_kl": settings["kl"], "weak_seed": settings["seed"], "early": EARLY}
    for name, one in (("weak", run), ("strong", same)):
        early = next(entry for entry in one["history"] if entry["step"] == EARLY)
        for when, entry in (("early", early), ("end", one["history"][-1])):
            said[f"{name}_{when}_right"] = percent(entry["right"]["all"])
            said[f"{name}_{when}_spread"] = f"{entry['spread']:.2f}"
    return said


def _main(runs: Sequence[Record]) -> str:
    body = []
    for run in runs:
        first, last = run["history"][0], run["history"][-1]
        rewards = (f"{entry['held_out_reward']:.2f}" for entry in (first, last))
        shares = (_with_interval(entry["right"]["all"]) for entry in (first, last))
        body.append([str(run["settings"]["seed"]), *shares, *rewards])
    return _table(["seed", "right before", "right after", "reward before", "reward after"], body)


def _kinds(runs: Sequence[Record]) -> str:
    body = []
    for run in runs:
        first, last = run["history"][0]["right"], run["history"][-1]["right"]
        pairs = [f"{percent(first[kind])} → {percent(last[kind])}" for kind in VALUES]
        body.append([str(run["settings"]["seed"]), *pairs])
    asked = [f"{kind} ({runs[0]['history'][0]['right'][kind][1]} asked)" for kind in VALUES]
    return _table(["seed", *asked], body)


def _inside(runs: Sequence[Record]) -> str:
    body = []
    for run in runs:
        _, second, *_, last = run["history"]
        pairs = [f"{second[name]:.2f} → {last[name]:.2f}" for name in ("reward", "spread", "kl")]
        sampled = f"{percent(second['sampled'])} → {percent(last['sampled'])}"
        cost = [f"{run['rewards']:,}", f"{run['seconds']:.0f}", f"{run['machine']['load_before']}"]
        body.append([str(run["settings"]["seed"]), *pairs, sampled, *cost])
    head = ["mean reward of samples", "spread within a group", "divergence", "sampled right"]
    return _table(["seed", *head, "rewards served", "seconds", "load"], body)


def _with_interval(counts: list[int]) -> str:
    low, high = interval(counts[0], counts[1])
    return f"{percent(counts)} ({100 * low:.1f}–{100 * high:.1f})"


def _chance(run: Record) -> float:
    """Of a policy that says a random value of the question's kind."""
    asked = {kind: run["history"][0]["right"][kind][1] for kind in VALUES}
    return fmean([1 / len(VALUES[kind]) for kind, count in asked.items() for _ in range(count)])


def _range(shares: Sequence[list[int]]) -> str:
    ordered = sorted(shares)
    return f"{percent(ordered[0])}–{percent(ordered[-1])}"


def _listed(numbers: Any) -> str:
    *most, last = map(str, numbers)
    return f"{', '.join(most)} and {last}"


def _table(head: list[str], body: list[list[str]]) -> str:
    rows = [head, ["---"] * len(head), *body]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


if __name__ == "__main__":
    sys.exit(main())
