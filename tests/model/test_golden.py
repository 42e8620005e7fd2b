"""Golden scores decide readiness, and bfloat16 stays within its stated bound."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from service import demo
from service.errors import GoldenMismatch, StartError
from tests.model.scoring import load


@pytest.fixture
def folder(tmp_path):
    return shutil.copytree(demo.checkpoint_folder(), tmp_path / "demo")


def edit_golden(folder, change):
    path = folder / "reward_manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest["golden"])
    path.write_text(json.dumps(manifest))


def test_the_demo_reproduces_its_golden_scores(folder):
    """They were computed by stock transformers when it was trained."""
    model = load(folder)
    assert len(model.checkpoint.manifest.golden) >= 6
    model.check()


def test_bfloat16_stays_within_the_manifests_bound(folder):
    load(folder, dtype="bfloat16").check()


def test_one_wrong_golden_score_is_named(folder):
    edit_golden(folder, lambda golden: golden[2].update(reward=golden[2]["reward"] + 0.5))
    with pytest.raises(GoldenMismatch, match=r"golden\[2\] gives"):
        load(folder).check()


def test_a_wrong_pool_is_caught_by_the_golden_scores(folder):
    path = folder / "reward_manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"pool": "last"}))
    with pytest.raises(GoldenMismatch):
        load(folder).check()


def test_a_missing_golden_picture_is_named(folder):
    for picture in (folder / "golden").iterdir():
        picture.unlink()
    with pytest.raises(StartError, match=r"golden picture golden/.* is missing"):
        load(folder).check()


def test_without_golden_scores_the_check_is_a_warm_up(folder):
    edit_golden(folder, lambda golden: golden.clear())
    load(folder).check()


def test_weights_that_give_no_number_are_caught_without_golden_scores(folder):
    edit_golden(folder, lambda golden: golden.clear())
    path = next(folder.glob("*.safetensors"))
    tensors = load_file(path)
    norm = next(name for name in tensors if name.endswith("norm.weight"))
    save_file(tensors | {norm: torch.full_like(tensors[norm], torch.nan)}, path)
    with pytest.raises(GoldenMismatch, match="gives nan"):
        load(folder).check()
