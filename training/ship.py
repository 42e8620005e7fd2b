"""Shipping: choose one of several runs by a rule fixed beforehand and copy it into the service."""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

import torch

from training.evaluate import DEMO, SCENES, Job, choose, run_jobs, share
from training.golden import example_picture, golden, write_pictures
from training.pictures import MAX_PIXELS, MIN_PIXELS

FILES = (
    "config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
    "preprocessor_config.json",
)


def manifest(folder: Path) -> dict:
    """Describe how the checkpoint is to be scored, with its golden examples."""
    return {
        "format": "basereward/1",
        "head": {"prefix": "score", "activation": "silu"},
        "pool": "last_strip_newline",
        "template": {"system": "default", "image_position": "before_text"},
        "pixels": {"min": MIN_PIXELS, "max": MAX_PIXELS, "apply_exif": True},
        "max_tokens": 2048,
        "score": {"scale": 1.0, "offset": 0.0, "mean": 0.0, "std": 1.0},
        "scoring": "pointwise",
        "golden": golden(folder),
        "golden_tolerance": {"float32": 1e-3, "bfloat16": 0.25},
    }


def pick(runs: list[Path], workers: int) -> Path:
    """Apply the rule: most held-out-pairings pairs right on the validation scenes."""
    jobs = [Job(run, "validation", "true", SCENES, 0) for run in runs]
    counts = run_jobs(jobs, workers)
    records = [{"run": job.folder, "validation": {"true": counts[job]}} for job in jobs]
    for record in records:
        print(f"{record['run']}: {share(record['validation']['true']['all']):.2%} on validation")
    return choose(records)["run"]


def ship(run: Path, target: Path = DEMO) -> None:
    """Copy a run's checkpoint, draw its golden pictures, write its manifest."""
    target.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        shutil.copyfile(run / name, target / name)
        (target / name).chmod(0o644)
    write_pictures(target)
    text = json.dumps(manifest(target), indent=2) + "\n"
    (target / "reward_manifest.json").write_text(text, encoding="utf-8")
    example_picture().save(target.parent / "example.png", optimize=True)


def main() -> None:
    """Read the command line, choose and copy."""
    parser = argparse.ArgumentParser(prog="python -m training.ship", description=__doc__)
    parser.add_argument("runs", type=Path, nargs="+", help="folders written by training.train")
    parser.add_argument("--jobs", type=int, default=2, help="processes (default: 2)")
    options = parser.parse_args()
    missing = [str(run) for run in options.runs if not (run / "model.safetensors").is_file()]
    if missing:
        parser.error(f"no checkpoint in {', '.join(missing)}")
    torch.set_num_threads(1)
    chosen = pick(options.runs, options.jobs)
    ship(chosen)
    print(f"shipped {chosen} to {DEMO}")


if __name__ == "__main__":
    main()
