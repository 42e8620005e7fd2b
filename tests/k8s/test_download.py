"""The script that downloads weights: only what SHA256SUMS names, all of it, and nothing by halves."""

import hashlib
import sys
import types

import pytest

from tests.k8s import rendering

SCRIPT = rendering.COMPONENTS / "weights-source" / "download.py"
FILES = {"config.json": b"{}", "model.safetensors": b"weights", "golden/red.png": b"picture"}
COMMIT = "a" * 40


@pytest.fixture
def hub(monkeypatch):
    """A hub client that writes `files`, and counts."""
    hub = types.SimpleNamespace(files=dict(FILES), calls=[])

    def snapshot_download(repository, *, revision, local_dir, allow_patterns):
        hub.calls.append((repository, revision))
        for name, content in hub.files.items():
            path = local_dir / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        (local_dir / ".cache").mkdir(exist_ok=True)
        (local_dir / ".cache" / "note").write_bytes(b"")

    module = types.ModuleType("huggingface_hub")
    module.snapshot_download = snapshot_download
    monkeypatch.setitem(sys.modules, "huggingface_hub", module)
    return hub


@pytest.fixture
def download(download, tmp_path, monkeypatch, hub):
    """With all that its pod gives it."""
    lines = [f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in FILES.items()]
    download.SUMS.write_text("".join(lines))
    monkeypatch.setenv("WEIGHTS_REPOSITORY", "owner/name")
    monkeypatch.setenv("WEIGHTS_REVISION", COMMIT)
    monkeypatch.setenv("WEIGHTS_FOLDER", str(tmp_path / "models" / "checkpoint"))
    return download


def folder(tmp_path):
    return tmp_path / "models" / "checkpoint"


def test_what_fits_is_there(download, tmp_path, hub):
    assert download.main() == 0
    there = {
        name: (folder(tmp_path) / name).read_bytes() for name in download.files(folder(tmp_path))
    }
    assert there == FILES
    assert hub.calls == [("owner/name", COMMIT)]


def test_a_second_start_downloads_nothing(download, hub):
    assert (download.main(), download.main()) == (0, 0)
    assert len(hub.calls) == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model.safetensors": b"other"}, "model.safetensors has another SHA-256"),
        ({"extra.safetensors": b"more"}, "extra.safetensors is not in SHA256SUMS"),
        ({"config.json": None}, "config.json is missing"),
    ],
)
def test_what_does_not_fit_is_not_there(download, tmp_path, hub, capsys, change, said):
    hub.files = {k: v for k, v in (FILES | change).items() if v is not None}
    assert download.main() == 1
    assert said in capsys.readouterr().err
    assert not folder(tmp_path).exists()


def test_what_fits_is_not_downloaded_again(download, tmp_path, hub):
    hub.files = FILES | {"config.json": b"[]", "extra.json": b"{}"}
    assert download.main() == 1
    left = folder(tmp_path).with_name("checkpoint.partial")
    assert download.files(left) == FILES.keys() - {"config.json"}
    hub.files = FILES
    assert download.main() == 0
    assert download.files(folder(tmp_path)) == FILES.keys()


def test_other_weights_take_the_place_of_the_first(download, tmp_path):
    folder(tmp_path).mkdir(parents=True)
    (folder(tmp_path) / "model.safetensors").write_bytes(b"former")
    assert download.main() == 0
    assert (folder(tmp_path) / "model.safetensors").read_bytes() == b"weights"


@pytest.mark.parametrize("revision", ["main", "v1", "a" * 39, "A" * 40])
def test_a_branch_is_refused(download, hub, monkeypatch, revision):
    monkeypatch.setenv("WEIGHTS_REVISION", revision)
    assert download.main() == 1
    assert hub.calls == []


def test_it_asks_for_what_the_server_reads(download):
    source = (rendering.ROOT / "service" / "model" / "location.py").read_text()
    assert all(f'"{pattern}"' in source for pattern in download.WANTED)


def test_a_folder_without_a_checkpoint_has_no_sums(download, tmp_path, capsys):
    (tmp_path / "README.md").write_text("")
    assert download.write_sums(tmp_path) == 1
    assert "holds no checkpoint" in capsys.readouterr().err


def test_the_variables_are_those_of_the_config():
    config = (SCRIPT.parent / "source.env").read_text()
    names = {line.split("=")[0] for line in config.splitlines() if line.startswith("WEIGHTS_")}
    assert names == {"WEIGHTS_REPOSITORY", "WEIGHTS_REVISION", "WEIGHTS_FOLDER"}
    assert all(f'"{name}"' in SCRIPT.read_text() for name in names)
