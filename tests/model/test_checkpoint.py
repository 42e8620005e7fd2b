"""What a folder or hub id must be to be a checkpoint, and the one line that says why it is not."""

import json
import shutil
from pathlib import Path

import pytest

from service import demo
from service.errors import StartError
from service.model import manifest as manifests
from service.model.checkpoint import open_checkpoint
from service.model.loading import open_source
from service.model.location import locate


@pytest.fixture
def folder(tmp_path) -> Path:
    return shutil.copytree(demo.checkpoint_folder(), tmp_path / "checkpoint")


@pytest.fixture
def sharded(make_checkpoint, tmp_path) -> Path:
    return shutil.copytree(make_checkpoint(shard_bytes=60_000), tmp_path / "sharded")


def refusal(folder, recipe=None) -> str:
    with pytest.raises(StartError) as caught:
        open_checkpoint(folder, recipe)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def edit(path: Path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_no_such_folder():
    with pytest.raises(StartError, match="no checkpoint folder"):
        locate("./not/there")


def test_a_file_is_no_checkpoint(folder):
    with pytest.raises(StartError, match="no checkpoint folder"):
        locate(str(folder / "config.json"))


def test_an_empty_folder(tmp_path):
    assert "config.json is missing" in refusal(tmp_path)


def test_another_architecture(folder):
    edit(folder / "config.json", model_type="llama")
    assert "'llama' is not served; known: qwen2_5_vl, qwen2_vl" in refusal(folder)


def test_architectures_are_not_trusted(folder):
    edit(folder / "config.json", architectures=["Qwen2_5_VLForSequenceClassification"])
    assert open_checkpoint(folder).model_type == "qwen2_5_vl"


@pytest.mark.parametrize(
    "name", ["config.json", "tokenizer_config.json", "preprocessor_config.json"]
)
def test_remote_code_is_refused(folder, name):
    edit(folder / name, auto_map={"AutoModel": "evil.Model"})
    assert f"{name} asks for remote code" in refusal(folder)


def test_only_pickles(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    assert "pytorch_model.bin is a pickle and is never loaded" in refusal(folder)


def test_no_weights(folder):
    (folder / "model.safetensors").unlink()
    assert "has no model.safetensors" in refusal(folder)


def test_a_missing_shard(sharded):
    shard = sorted(sharded.glob("model-*.safetensors"))[3]
    shard.unlink()
    assert refusal(sharded) == (
        f"shard {shard.name} is missing (named in model.safetensors.index.json)"
    )


def test_shards_without_their_index(sharded):
    (sharded / "model.safetensors.index.json").unlink()
    assert "has shards but no model.safetensors.index.json" in refusal(sharded)


def test_a_shard_cut_short(sharded):
    shard = sorted(sharded.glob("model-*.safetensors"))[0]
    shard.write_bytes(shard.read_bytes()[:-10])
    assert f"{shard.name} is cut short" in refusal(sharded)


def test_a_shard_of_another_model(sharded):
    first, second = sorted(sharded.glob("model-*.safetensors"))[:2]
    shutil.copy(first, second)
    assert "is missing from its shard" in refusal(sharded)


@pytest.mark.parametrize("damage", [b"", b"\xff" * 64, b"\x08\0\0\0\0\0\0\0notjson!"])
def test_a_damaged_header(folder, damage):
    (folder / "model.safetensors").write_bytes(damage)
    assert "model.safetensors is not a safetensors file" in refusal(folder)


def test_no_manifest_says_how_to_mend_it(folder):
    (folder / manifests.FILE_NAME).unlink()
    line = refusal(folder)
    assert "--recipe basereward|ms-swift-3|ms-swift-4|llamafactory|trl|openrlhf" in line
    assert "basereward checkpoint init" in line


def test_a_recipe_states_what_the_manifest_would(folder):
    (folder / manifests.FILE_NAME).unlink()
    opened = open_checkpoint(folder, "basereward")
    limits = manifests.PixelRules(min=12_000, max=12_800)  # of the folder's processor
    known = manifests.RECIPES["basereward"]
    assert opened.manifest == known.model_copy(update={"pixels": limits})
    assert opened.recipe == "basereward"
    assert "unknown recipe 'guess'" in refusal(folder, "guess")


def test_a_recipe_beside_a_manifest_is_refused(folder):
    assert "drop --recipe trl" in refusal(folder, "trl")


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"format": "basereward/2"}, "format"),
        ({"surprise": 1}, "unknown key 'surprise'"),
        ({"pol": "last"}, "unknown key 'pol'; did you mean 'pool'?"),
        ({"score": {"men": 0}}, "unknown key 'score.men'; did you mean 'mean'?"),
        ({"pool": "mean"}, "pool"),
        ({"head": {"prefix": "score"}}, "head.activation"),
        ({"score": {"std": 0}}, "score.std"),
        ({"scoring": "listwise"}, "scoring"),
    ],
)
def test_an_invalid_manifest_names_its_fault(folder, changes, line):
    edit(folder / manifests.FILE_NAME, **changes)
    assert f"reward_manifest.json: {line}" in refusal(folder)


def test_openrlhf_states_its_normalisation_in_the_config():
    config = {"value_head_prefix": "value_head", "normalize_reward": True, "mean": 1.5, "std": 2.0}
    manifest = manifests.from_recipe("openrlhf", config)
    assert manifest.head.prefix == "value_head"
    assert manifest.score.reward(5.5) == 2.0
    assert manifests.from_recipe("openrlhf", {"mean": 1.5}).score.reward(5.5) == 5.5


def test_the_score_rule():
    rule = manifests.ScoreRules(scale=2.0, offset=1.0, mean=0.5, std=4.0)
    assert rule.reward(3.0) == ((3.0 * 2.0 + 1.0) - 0.5) / 4.0


def test_a_hub_id_comes_from_the_cache(folder, tmp_path, monkeypatch):
    """A cached snapshot is found by id and revision; without one the line says so. Nothing is fetched."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    commit = "0123456789abcdef0123456789abcdef01234567"
    repo = tmp_path / "hub" / "models--owner--name"
    shutil.copytree(folder, repo / "snapshots" / commit)
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text(commit)
    assert open_source("owner/name").folder == repo / "snapshots" / commit
    assert open_source("owner/name", revision=commit).folder.name == commit
    for source, revision in (("owner/other", None), ("owner/name", "v2")):
        with pytest.raises(StartError, match=f"{source}.* is not in the local cache"):
            open_source(source, revision=revision)
