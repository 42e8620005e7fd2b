"""Training: one seed of the demo model within a budget of CPU time."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import defaultdict
from pathlib import Path

import torch
from tqdm import tqdm

from training.model import save_checkpoint
from training.tokenizer import build_tokenizer
from training.trainer import Trainer

LOG_EVERY = 50


# How a run spends its time. First the vision tower looks alone, with the probe; then right answers
# only, mostly bare words, with the next-token loss; the rest of the time compares answers.
RATE, LOOK, SPEAK = 2e-3, 0.03, 0.19


class Journal:
    """Writes the losses and the shares of won pairs of every few steps to log.jsonl."""

    def __init__(self, path: Path) -> None:
        self.file = path.open("w", encoding="utf-8")
        self.won: dict[str, list[bool]] = defaultdict(list)

    def add(self, won: dict[str, list[bool]]) -> None:
        """Remember which pairs one step got right."""
        for kind, rights in won.items():
            self.won[kind] += rights

    def write(self, step: int, spent: float, parts: dict[str, float]) -> None:
        """Write one line and start counting afresh."""
        shares = {kind: round(sum(w) / len(w), 3) for kind, w in sorted(self.won.items())}
        note = {"step": step, "cpu_s": round(spent, 1), **parts, "won": shares}
        self.file.write(json.dumps(note) + "\n")
        self.file.flush()
        self.won.clear()


def take_steps(trainer: Trainer, budget: float, journal: Journal) -> int:
    """Take steps until the budget of CPU-seconds is spent; returns their number."""
    began, steps, spent = time.process_time(), 0, 0.0
    bar = tqdm(total=round(budget), unit="cpu-s", desc="training", file=sys.stderr)
    while spent < budget:
        done = spent / budget
        if done < LOOK:
            loss = trainer.look()
        elif done < LOOK + SPEAK:
            loss = trainer.speak()
        else:
            loss, won = trainer.compare()
            journal.add(won)
        trainer.step(loss, RATE, done)
        steps, spent = steps + 1, time.process_time() - began
        bar.update(min(round(spent), bar.total) - bar.n)
        if steps % LOG_EVERY == 0:
            journal.write(steps, spent, trainer.parts)
    bar.close()
    return steps


def train(seed: int, out: Path, cpu_minutes: float) -> dict[str, float]:
    """Train one seed until the CPU time is spent and write the checkpoint and the log."""
    began = time.process_time()
    tokenizer = build_tokenizer()
    trainer = Trainer(seed, tokenizer)
    out.mkdir(parents=True, exist_ok=True)
    journal = Journal(out / "log.jsonl")
    steps = take_steps(trainer, cpu_minutes * 60, journal)
    journal.file.close()
    save_checkpoint(trainer.model, tokenizer, out)
    spent = time.process_time() - began
    run = {"seed": seed, "steps": steps, "cpu_seconds": round(spent, 1)}
    (out / "run.json").write_text(json.dumps(run) + "\n", encoding="utf-8")
    return run


def main() -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(prog="python -m training.train", description=__doc__)
    parser.add_argument("--seed", type=int, required=True, help="seed of weights and data")
    parser.add_argument("--out", type=Path, required=True, help="folder for the checkpoint")
    parser.add_argument(
        "--cpu-minutes", type=float, default=19.0, help="CPU time to spend (default: 19)"
    )
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default: 1)")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    run = train(options.seed, options.out, options.cpu_minutes)
    print(f"{options.out}: {run['steps']} steps in {run['cpu_seconds']:.0f} CPU-seconds")


if __name__ == "__main__":
    main()
