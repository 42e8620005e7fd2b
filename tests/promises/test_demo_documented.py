"""docs/demo.md shows the measured table, and the shipped checkpoint is the one it was measured on."""

import hashlib
import json
from pathlib import Path

from service import demo

ROOT = Path(__file__).parents[2]
RESULTS = json.loads((ROOT / "training/results.json").read_text("utf-8"))


def right(run: dict, test: str, picture: str = "true") -> float:
    won, pairs = run[test][picture]["all"]
    return won / pairs


def test_the_demo_judges_the_picture_and_not_the_words():
    assert len(RESULTS["runs"]) >= 3
    for run in RESULTS["runs"]:
        assert right(run, "pairings") > 0.9
        for picture in ("shuffled", "blank"):
            assert 0.4 < right(run, "pairings", picture) < 0.6
            assert 0.4 < right(run, "phrasings", picture) < 0.6


def test_the_table_is_the_one_that_was_measured():
    table = (ROOT / "training/results.md").read_text("utf-8").strip()
    assert table in (ROOT / "docs/demo.md").read_text("utf-8")


def test_the_shipped_weights_are_those_of_the_table():
    weights = demo.checkpoint_folder() / "model.safetensors"
    shipped = max(RESULTS["runs"], key=lambda run: right(run, "validation"))
    assert shipped["sha256"] == hashlib.sha256(weights.read_bytes()).hexdigest()


def test_the_checkpoint_is_small():
    folder = demo.checkpoint_folder()
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) <= 5 * 2**20
