"""What a model has to show at its start: that it tells inputs apart, and that our pass is the stock one."""

import json
import shutil
from unittest import mock

import pytest
import torch
from safetensors.torch import load_file, save_file

from service.errors import GoldenMismatch, NotProven
from service.model import packed
from tests.model.scoring import load


@pytest.fixture
def folder(make_checkpoint, tmp_path):
    """A copy of one's own."""
    return shutil.copytree(make_checkpoint(), tmp_path / "checkpoint")


def edit(folder, change):
    """Change tensors of a checkpoint in one file."""
    path = folder / "model.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path, metadata={"format": "pt"})


def manifest(folder, **stated):
    path = folder / "reward_manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | stated))


@pytest.mark.parametrize("backbone", ["qwen2_5_vl", "qwen2_vl"])
def test_a_good_model_is_proven_once(make_checkpoint, backbone):
    model = load(make_checkpoint(model_type=backbone))
    model.check()
    with mock.patch.object(model._steps, "score", side_effect=RuntimeError) as score:
        with pytest.raises(RuntimeError):  # what follows is the golden check alone
            model.check()
        assert score.call_count == 1


def zero_embedding(tensors):
    (name,) = (n for n in tensors if n.endswith("embed_tokens.weight"))
    tensors[name].zero_()


def zero_head(tensors):
    head = [n for n in tensors if not n.startswith(("model.", "visual."))]
    assert head
    for name in head:
        tensors[name].zero_()


@pytest.mark.parametrize("change", [zero_embedding, zero_head])
def test_one_reward_for_every_input_is_refused(folder, change):
    edit(folder, change)
    with pytest.raises(NotProven, match=r"4 texts that differ all give .*constant_ok"):
        load(folder).check()
    manifest(folder, constant_ok=True)
    load(folder).check()


def test_weights_that_are_no_numbers_are_refused(folder):
    edit(folder, lambda tensors: next(iter(tensors.values())).fill_(float("nan")))
    with pytest.raises(NotProven, match="nan"):
        load(folder).check()


def test_pictures_that_change_nothing_are_refused(folder):
    """As where the tower's weights are not those of the model."""

    def blind(tensors):
        for name in tensors:
            if "merger.mlp.2" in name:
                tensors[name].zero_()

    edit(folder, blind)
    with pytest.raises(NotProven, match="2 pictures that differ all give"):
        load(folder).check()


def test_a_pass_that_is_not_the_stock_one_is_refused(make_checkpoint):
    model = load(make_checkpoint())
    last = packed._last_layer
    with (
        mock.patch.object(packed, "_last_layer", lambda *a: last(*a) + 0.1 * torch.ones(1)),
        pytest.raises(GoldenMismatch, match="by stock transformers"),
    ):
        model.check()
