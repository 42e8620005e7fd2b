"""`basereward checkpoint`: each action on real folders."""

import json
import shutil

import pytest

from service import demo
from service.__main__ import main
from service.model.checkpoint import open_checkpoint


@pytest.fixture
def random_folder(tmp_path):
    folder = tmp_path / "random"
    assert (
        main(["checkpoint", "random", str(folder), "--head", "rm_head", "--shard-bytes", "60000"])
        == 0
    )
    return folder


@pytest.fixture
def bare(random_folder):
    """A checkpoint as a training stack leaves it: without a manifest."""
    (random_folder / "reward_manifest.json").unlink()
    return random_folder


def failing(capsys, *arguments) -> str:
    capsys.readouterr()
    assert main(["checkpoint", *map(str, arguments)]) == 1
    said = capsys.readouterr().err
    assert said.startswith("basereward: error: ")
    assert said.count("\n") == 1
    return said


def test_random_then_inspect(random_folder, capsys):
    capsys.readouterr()
    assert main(["checkpoint", "inspect", str(random_folder)]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["backbone"] == "qwen2_5_vl"
    assert facts["head"]["tensors"] == ["rm_head.dense.weight", "rm_head.out_proj.weight"]
    assert facts["head"]["widths"] == [64, 64, 1]
    assert len(facts["files"]) > 5


def test_inspect_shows_the_demo_by_default(capsys):
    assert main(["checkpoint", "inspect"]) == 0
    assert json.loads(capsys.readouterr().out)["manifest"]["pool"] == "last_strip_newline"


@pytest.mark.parametrize("preset", ["3b", "7b", "32b"])
def test_presets_have_the_released_sizes(preset):
    """Parameters of the backbones without lm_head, as Qwen published them (billions, rounded)."""
    from service.model.random_checkpoint import RandomSpec, random_bytes

    parameters = random_bytes(RandomSpec(preset=preset), demo.checkpoint_folder()) / 2
    billions = {"3b": (3.7, 3.8), "7b": (7.6, 7.8), "32b": (32.6, 33.0)}[preset]
    assert billions[0] < parameters / 1e9 < billions[1]


def test_random_refuses_a_full_folder_and_an_unknown_preset(random_folder, tmp_path, capsys):
    assert "is not empty" in failing(capsys, "random", random_folder)
    assert "unknown preset '8b'" in failing(capsys, "random", tmp_path / "x", "--preset", "8b")


def test_init_writes_what_the_recipe_implies(bare, capsys):
    assert "no head under 'score', but rm_head" in failing(
        capsys, "init", bare, "--recipe", "basereward"
    )
    assert not (bare / "reward_manifest.json").exists()
    arguments = ["--recipe", "basereward", "--head-prefix", "rm_head", "--activation", "tanh"]
    assert main(["checkpoint", "init", str(bare), *arguments, "--max-pixels", "50176"]) == 0
    manifest = open_checkpoint(bare).manifest
    assert (manifest.head.prefix, manifest.head.activation) == ("rm_head", "tanh")
    assert (manifest.pool, manifest.pixels.max) == ("last_strip_newline", 50176)
    assert "--force overwrites it" in failing(capsys, "init", bare, *arguments)
    assert main(["checkpoint", "init", str(bare), *arguments, "--pool", "last", "--force"]) == 0
    assert open_checkpoint(bare).manifest.pool == "last"


def test_init_takes_the_pixel_limits_of_the_folder(bare):
    stated = {"min_pixels": 784, "size": {"longest_edge": 589_824}}
    (bare / "preprocessor_config.json").write_text(json.dumps(stated))
    arguments = ["--recipe", "basereward", "--head-prefix", "rm_head", "--activation", "tanh"]
    assert main(["checkpoint", "init", str(bare), *arguments]) == 0
    manifest = open_checkpoint(bare).manifest
    assert (manifest.pixels.min, manifest.pixels.max) == (784, 589_824)


def test_inspect_without_a_manifest_shows_what_was_found(bare, tmp_path, capsys):
    assert main(["checkpoint", "random", str(tmp_path / "v"), "--head", "v_head"]) == 0
    (tmp_path / "v" / "reward_manifest.json").unlink()
    for folder, heads, fits in (
        (bare, ["rm_head"], []),
        (tmp_path / "v", ["v_head"], ["llamafactory"]),
    ):
        capsys.readouterr()
        assert main(["checkpoint", "inspect", str(folder)]) == 0
        facts = json.loads(capsys.readouterr().out)
        assert (facts["heads_found"], facts["recipes_that_fit"]) == (heads, fits)
        assert facts["manifest"] is None
        assert "no head under 'score', but" in facts["recipes_refused"]["trl"]


def test_inspect_lists_what_contradicts(random_folder, capsys):
    (random_folder / "preprocessor_config.json").write_text('{"max_pixels": 12845056}')
    capsys.readouterr()
    assert main(["checkpoint", "inspect", str(random_folder)]) == 0
    assert json.loads(capsys.readouterr().out)["warnings"] == [
        "reward_manifest.json: pixels.max = 50176 is used; preprocessor_config.json says 12845056"
    ]


def test_verify_reproduces_the_demos_golden_scores(capsys):
    assert main(["checkpoint", "verify"]) == 0
    printed = capsys.readouterr().out
    assert "agree with golden scores within" in printed
    assert "FAIL" not in printed


def test_verify_fails_where_a_score_differs(tmp_path, capsys):
    folder = shutil.copytree(demo.checkpoint_folder(), tmp_path / "demo")
    path = folder / "reward_manifest.json"
    manifest = json.loads(path.read_text())
    manifest["golden"][1]["reward"] += 0.25
    path.write_text(json.dumps(manifest))
    assert main(["checkpoint", "verify", str(folder)]) == 1
    assert capsys.readouterr().out.count("FAIL") == 1


def test_verify_against_a_reference_file(tmp_path, capsys):
    folder = demo.checkpoint_folder()
    golden = json.loads((folder / "reward_manifest.json").read_text())["golden"]
    rows = [{k: v for k, v in g.items() if v is not None} for g in golden if not g.get("image")]
    reference = tmp_path / "reference.jsonl"
    reference.write_text("\n".join(map(json.dumps, rows)))
    assert main(["checkpoint", "verify", "--against", str(reference)]) == 0
    assert "agree with reference.jsonl" in capsys.readouterr().out
    reference.write_text('{"prompt": "p"}')
    assert "reference.jsonl, line 1" in failing(capsys, "verify", "--against", reference)
    reference.write_text("")
    assert "holds no rewards" in failing(capsys, "verify", "--against", reference)


def test_verify_against_another_checkpoint(random_folder, tmp_path, capsys):
    """Another sharding of the same model agrees; another model does not."""
    same, other = tmp_path / "same", tmp_path / "other"
    assert main(["checkpoint", "random", str(same), "--head", "score-seq"]) == 0
    assert main(["checkpoint", "random", str(other), "--seed", "1"]) == 0
    assert main(["checkpoint", "verify", str(random_folder), "--against", str(same)]) == 0
    assert main(["checkpoint", "verify", str(random_folder), "--against", str(other)]) == 1
    assert "FAIL" in capsys.readouterr().out


def test_verify_without_anything_to_compare(random_folder, capsys):
    assert "no golden scores; name something with --against" in failing(
        capsys, "verify", random_folder
    )
