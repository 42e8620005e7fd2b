"""Every known layout on disk is the same model: same rewards, same fingerprint, nothing missing."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from service.errors import StartError
from service.model.checkpoint import open_checkpoint
from tests.model.reference import StockModel
from tests.model.scoring import alone, example, load

BACKBONES = ("qwen2_5_vl", "qwen2_vl")
FAMILIES = ("old", "new", "bare")
TWO_LAYERS = ("score-dense", "score-seq", "rm_head")
ONE_LAYER_BIASED = ("v_head", "value_head_file")
SHARD = 60_000  # bytes: about twenty shards


def rewards(folder, noise):
    model = load(folder)
    group = example(model, "What is it?", ["A cat.", "\nA dog.", ""], [noise(112, 84)])
    return alone(model, group), model.info.fingerprint


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("heads", [TWO_LAYERS, ONE_LAYER_BIASED, ("score",)], ids=lambda h: h[0])
def test_same_model_in_every_layout(make_checkpoint, noise, backbone, heads):
    """Family x head x sharding: one fingerprint, one set of rewards, and stock agrees."""
    whole = make_checkpoint(model_type=backbone, head=heads[0])
    known, fingerprint = rewards(whole, noise)
    stock = StockModel(whole)
    assert known[0] == pytest.approx(
        stock.reward("What is it?", "A cat.", [noise(112, 84)]), abs=1e-5
    )
    for family in FAMILIES:
        for head in heads:
            folder = make_checkpoint(
                model_type=backbone, head=head, family=family, shard_bytes=SHARD
            )
            assert len(list(folder.glob("model-*.safetensors"))) > 5
            assert rewards(folder, noise) == (known, fingerprint)


def test_saved_by_transformers_is_the_same_model(make_checkpoint, noise, tmp_path):
    """What save_pretrained writes, in shards, with the head beside it, loads to the same rewards."""
    source = make_checkpoint(head="value_head_file")
    StockModel(source).backbone.save_pretrained(tmp_path, max_shard_size="100KB")
    for name in ("value_head.safetensors", "reward_manifest.json", "tokenizer.json"):
        shutil.copy(source / name, tmp_path / name)
    for name in ("tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(source / name, tmp_path / name)
    known, fingerprint = rewards(source, noise)
    again, same = rewards(tmp_path, noise)
    assert again == pytest.approx(known, abs=1e-6)
    assert same == fingerprint


def test_wrappers_left_by_trainers_are_stripped(make_checkpoint, noise, copy_of):
    folder = copy_of(make_checkpoint())
    rename(folder, lambda name: "module.pretrained_model." + name)
    assert rewards(folder, noise) == rewards(make_checkpoint(), noise)


def test_the_fingerprint_is_of_the_function(make_checkpoint, copy_of):
    known = load(make_checkpoint()).info.fingerprint
    assert load(make_checkpoint(seed=1)).info.fingerprint != known
    assert load(make_checkpoint(dtype="bfloat16")).info.fingerprint != known
    for change in (
        {"pool": "last"},
        {"head": {"prefix": "score", "activation": "relu"}},
        {"pixels": {"min": 3136, "max": 25088}},
        {"template": {"system": "", "image_position": "before_text"}},
        {"score": {"scale": 2.0}},
    ):
        assert load(edited(copy_of(make_checkpoint()), **change)).info.fingerprint != known
    golden = [{"prompt": "a", "response": "b", "reward": 0.5}]
    assert load(edited(copy_of(make_checkpoint()), golden=golden)).info.fingerprint == known


def test_lm_head_and_old_buffers_are_ignored(make_checkpoint, noise, copy_of):
    folder = copy_of(make_checkpoint())
    add(folder, "lm_head.weight", torch.zeros(4, 4))
    add(folder, "model.layers.0.self_attn.rotary_emb.inv_freq", torch.zeros(4))
    assert rewards(folder, noise) == rewards(make_checkpoint(), noise)
    assert set(open_checkpoint(folder).tensors.ignored) == {
        "lm_head.weight",
        "model.layers.0.self_attn.rotary_emb.inv_freq",
    }


CORRUPTIONS = {
    "missing backbone tensor": (
        lambda f: drop(f, "model.layers.1.mlp.up_proj.weight"),
        "backbone tensor language_model.layers.1.mlp.up_proj.weight is missing",
    ),
    "missing vision tensor": (
        lambda f: drop(f, "visual.merger.ln_q.weight"),
        "backbone tensor visual.merger.ln_q.weight is missing",
    ),
    "mis-shaped backbone tensor": (
        lambda f: add(f, "model.norm.weight", torch.ones(65)),
        "model.norm.weight has shape [65], config.json asks for [64]",
    ),
    "head of the wrong width": (
        lambda f: add(f, "score.dense.weight", torch.ones(64, 32)),
        "score.dense.weight takes 32 inputs; the backbone gives 64",
    ),
    "head layers that do not chain": (
        lambda f: add(f, "score.out_proj.weight", torch.ones(1, 63)),
        "score.out_proj.weight takes 63 inputs, not 64",
    ),
    "head with two outputs": (
        lambda f: (
            add(f, "score.out_proj.weight", torch.ones(2, 64)),
            add(f, "score.out_proj.bias", torch.ones(2)),
        ),
        "score.out_proj.weight gives 2 outputs",
    ),
    "head bias of the wrong width": (
        lambda f: add(f, "score.dense.bias", torch.ones(63)),
        "score.dense.bias has shape [63], not [64]",
    ),
    "head weight missing": (
        lambda f: drop(f, "score.dense.weight"),
        "head tensor score.dense.weight is missing",
    ),
    "no head": (
        lambda f: [drop(f, n) for n in list(tensors(f)) if n.startswith("score.")],
        "no reward head: no tensor score.* in the checkpoint",
    ),
    "head under another name": (
        lambda f: rename(f, lambda n: n.replace("score.", "rm_head.")),
        "no head under 'score', but rm_head.dense.bias is there",
    ),
    "unknown tensor": (
        lambda f: add(f, "surprise.weight", torch.ones(2)),
        "tensor surprise.weight is neither backbone nor head",
    ),
    "all in a trainer's class": (
        lambda f: rename(f, lambda n: "actor.model." + n),
        "would be known without 'actor.'",
    ),
    "the backbone in a class, the head beside it": (
        lambda f: rename(f, lambda n: n if n.startswith("score.") else "backbone." + n),
        "would be known without 'backbone.', a wrapper that is not: save the wrapped model itself",
    ),
    "tensor stored twice": (
        lambda f: add(f, "model.language_model.norm.weight", torch.ones(64)),
        "is stored twice",
    ),
    "more layers than the config": (
        lambda f: add(f, "model.layers.2.mlp.up_proj.weight", torch.ones(2, 2)),
        "model.layers.2.mlp.up_proj.weight has no place in the backbone",
    ),
    "adapter": (
        lambda f: add(f, "base_model.model.q_proj.lora_A.weight", torch.ones(2)),
        "is a LoRA adapter; merge it",
    ),
    "quantised weights": (
        lambda f: add(f, "model.norm.weight", torch.ones(64, dtype=torch.int8)),
        "model.norm.weight is stored as I8",
    ),
    "quantised head": (
        lambda f: add(f, "score.out_proj.bias", torch.ones(1, dtype=torch.int8)),
        "score.out_proj.bias is stored as I8",
    ),
}


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_corrupted_checkpoint_refuses_to_start(make_checkpoint, copy_of, name):
    corrupt, line = CORRUPTIONS[name]
    folder = copy_of(make_checkpoint())
    corrupt(folder)
    with pytest.raises(StartError) as caught:
        load(folder)
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "change", [{"num_hidden_layers": "two"}, {"vision_config": 5}, {"rope_scaling": "none"}]
)
def test_a_malformed_config_is_one_line(make_checkpoint, copy_of, change):
    folder = copy_of(make_checkpoint())
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(StartError, match=r"^config\.json: ") as caught:
        load(folder)
    assert "\n" not in str(caught.value)


@pytest.fixture
def copy_of(tmp_path_factory):
    return lambda folder: shutil.copytree(
        folder, tmp_path_factory.mktemp("copy"), dirs_exist_ok=True
    )


def edited(folder, **changes):
    path = folder / "reward_manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return folder


def tensors(folder):
    return load_file(folder / "model.safetensors")


def add(folder, name, value):
    save_file(tensors(folder) | {name: value}, folder / "model.safetensors")


def drop(folder, name):
    save_file({k: v for k, v in tensors(folder).items() if k != name}, folder / "model.safetensors")


def rename(folder, new_name):
    save_file({new_name(k): v for k, v in tensors(folder).items()}, folder / "model.safetensors")


def spelled(change):
    def edit(values):
        text = values.get("text_config", values)
        rope = text.pop("rope_parameters", None) or text.pop("rope_scaling", {})
        theta = rope.pop("rope_theta", None) or text.pop("rope_theta")
        text.update(change(theta, rope["mrope_section"]))

    return edit


ROPES = {
    "4.49": lambda theta, section: {
        "rope_theta": theta,
        "rope_scaling": {"type": "mrope", "mrope_section": section},
    },
    "4.53": lambda theta, section: {
        "rope_theta": theta,
        "rope_scaling": {"type": "default", "rope_type": "default", "mrope_section": section},
    },
    "5": lambda theta, section: {
        "rope_parameters": {
            "rope_theta": theta, "rope_type": "default", "mrope_section": section,
        }
    },
    "5, of an older one": lambda theta, section: {
        "rope_parameters": {
            "rope_theta": theta, "rope_type": "default", "type": "mrope", "mrope_section": section,
        }
    },
}  # fmt: skip
OTHER_THETA = {"another theta": lambda theta, section: ROPES["5"](theta * 2, section)}


def test_how_rope_is_spelled_is_no_part_of_the_function(make_checkpoint, tmp_path):
    """Three spellings of one function were three fingerprints: re-saved, a checkpoint ended pinned runs."""
    fingerprints = {}
    for name, change in (ROPES | OTHER_THETA).items():
        folder = shutil.copytree(make_checkpoint(), tmp_path / name.replace(" ", "-"))
        path = folder / "config.json"
        values = json.loads(path.read_text())
        spelled(change)(values)
        path.write_text(json.dumps(values))
        fingerprints[name] = load(folder).info.fingerprint
    assert len({fingerprints[name] for name in ROPES}) == 1
    assert fingerprints["another theta"] != fingerprints["5"]
