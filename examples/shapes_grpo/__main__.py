"""`python -m examples.shapes_grpo`: trains a policy against a reward server, writes results.json and a plot."""

import argparse
import dataclasses
import sys
from pathlib import Path

import torch

from examples.shapes_grpo import results
from examples.shapes_grpo.judge import judge
from examples.shapes_grpo.plot import draw
from examples.shapes_grpo.run import SHORT, Settings, train


def main(arguments: list[str] | None = None) -> int:
    chosen = _parser().parse_args(arguments)
    torch.set_num_threads(1)  # the server has the rest
    chosen.out.mkdir(parents=True, exist_ok=True)
    records = []
    with judge(chosen.url) as one:
        for seed in chosen.seed:
            records.append(train(_settings(chosen, seed), one))
            results.add(records[-1], chosen.out / "results.json")
            sys.stderr.write(results.line(records[-1]) + "\n")
    drawn = draw(records, chosen.out / "results.png")
    plot = "results.png" if drawn else "no plot: matplotlib is not installed"
    sys.stderr.write(f"wrote {chosen.out / 'results.json'}, {plot}\n")
    return 0


def _settings(chosen: argparse.Namespace, seed: int) -> Settings:
    settings = dataclasses.replace(
        SHORT if chosen.short else Settings(), seed=seed, guided=not chosen.unguided, kl=chosen.kl
    )
    return dataclasses.replace(settings, steps=chosen.steps or settings.steps)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m examples.shapes_grpo", description=__doc__)
    parser.add_argument("--url", help="a reward server [one is started, with the demo model]")
    parser.add_argument("--seed", type=int, nargs="+", default=[1], help="one run each [1]")
    parser.add_argument("--steps", type=_count, help="of GRPO [400, or 50 if --short]")
    parser.add_argument("--short", action="store_true", help="an easier task, in about a minute")
    parser.add_argument(
        "--unguided", action="store_true", help="let the policy say anything, and hack the reward"
    )
    parser.add_argument("--kl", type=float, default=Settings.kl, help="weight [0.1]")
    parser.add_argument("--out", type=Path, default=Path("runs/shapes_grpo"), help="folder")
    return parser


def _count(text: str) -> int:
    if int(text) < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
