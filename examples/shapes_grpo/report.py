"""`python -m examples.shapes_grpo.report [FILE]`: keeps a results.json beside the example, writes the page and plot."""

import argparse
import sys
from collections.abc import Sequence
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
COMMANDS = """\
.venv/bin/python -m examples.shapes_grpo --seed {seeds}
.venv/bin/python -m examples.shapes_grpo --unguided --steps {free}
.venv/bin/python -m examples.shapes_grpo --kl {kl:g} --steps {weak}
.venv/bin/python -m examples.shapes_grpo.report runs/shapes_grpo/results.json"""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m examples.shapes_grpo.report")
    parser.add_argument("file", type=Path, nargs="?", default=RESULTS, help="of finished runs")
    chosen = parser.parse_args()
    RESULTS.write_text(chosen.file.read_text("utf-8"), "utf-8")
    runs = read(RESULTS)
    PAGE.write_text(page(runs), "utf-8")
    draw(learning(runs), PAGE.with_name(PLOT))
    sys.stderr.write(f"wrote {PAGE} and {PLOT}\n")
    return 0


def learning(runs: Sequence[Record]) -> list[Record]:
    """The runs with the default settings, by seed."""
    kept = [r for r in runs if r["settings"]["guided"] and r["settings"]["kl"] == Settings.kl]
    return sorted(kept, key=lambda run: int(run["settings"]["seed"]))


def page(runs: Sequence[Record]) -> str:
    whole = learning(runs)
    (free,) = (run for run in runs if not run["settings"]["guided"])
    (weak,) = (run for run in runs if run["settings"]["kl"] < Settings.kl)
    text = TEMPLATE.read_text("utf-8")
    return text.format(**_said(whole), **_unguided(free), **_weak(weak, whole))


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
    settings, last = run["settings"], run["history"][-1]
    same = next(other for other in whole if other["settings"]["seed"] == settings["seed"])
    strong = next(entry for entry in same["history"] if entry["step"] == last["step"])
    free = settings["steps"]
    seeds = " ".join(str(other["settings"]["seed"]) for other in whole)
    return {
        "commands": COMMANDS.format(seeds=seeds, free=free, kl=settings["kl"], weak=last["step"]),
        "weak_kl": settings["kl"],
        "weak_steps": last["step"],
        "weak_seed": settings["seed"],
        "weak_right": percent(last["right"]["all"]),
        "weak_spread": f"{last['spread']:.2f}",
        "strong_right": percent(strong["right"]["all"]),
        "strong_step": strong["step"],
    }


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
        sampled = f"{percent(run['history'][0]['sampled'])} → {percent(last['sampled'])}"
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
