"""file:// pictures: only regular files below the allowed folder, and one answer for everything else."""

import os

import pytest

from service.errors import InvalidRequest
from service.inputs.fetch import Fetcher, FetchRules


@pytest.fixture
def folder(tmp_path):
    """An allowed folder with pictures, beside a secret."""
    allowed = tmp_path / "allowed"
    (allowed / "deep").mkdir(parents=True)
    (allowed / "cat.png").write_bytes(b"cat")
    (allowed / "deep" / "a b.png").write_bytes(b"spaced")
    (allowed / "100%.png").write_bytes(b"percent")
    (tmp_path / "secret.png").write_bytes(b"secret")
    (tmp_path / "allowed-not").mkdir()
    (tmp_path / "allowed-not" / "cat.png").write_bytes(b"secret")
    (allowed / "inside.png").symlink_to(allowed / "cat.png")
    (allowed / "escape.png").symlink_to(tmp_path / "secret.png")
    (allowed / "out").symlink_to(tmp_path)
    (allowed / "dangling.png").symlink_to(allowed / "nowhere.png")
    (allowed / "loop.png").symlink_to(allowed / "loop.png")
    os.mkfifo(allowed / "pipe.png")
    return allowed


def read(folder, path, **rules):
    return Fetcher(FetchRules(file_dir=folder, **rules)).fetch(f"file://{path}")


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("cat.png", b"cat"),
        ("deep/a%20b.png", b"spaced"),
        ("100%25.png", b"percent"),
        ("deep/../cat.png", b"cat"),
        ("inside.png", b"cat"),
    ],
)
def test_file_below_the_folder_is_read(folder, path, content):
    assert read(folder, folder / path if "%" not in path else f"{folder}/{path}") == content
    assert Fetcher(FetchRules(file_dir=folder)).fetch(f"file://localhost{folder}/{path}") == content


@pytest.mark.parametrize(
    "path",
    [
        pytest.param("nowhere.png", id="missing"),
        pytest.param("", id="the-folder"),
        pytest.param("deep", id="a-directory"),
        pytest.param("../secret.png", id="dot-dot"),
        pytest.param("deep/../../secret.png", id="dot-dot-deeper"),
        pytest.param("%2e%2e/secret.png", id="encoded-dot-dot"),
        pytest.param("..%2fsecret.png", id="encoded-slash"),
        pytest.param("%252e%252e/secret.png", id="twice-encoded"),
        pytest.param("../allowed-not/cat.png", id="folder-with-the-same-beginning"),
        pytest.param("escape.png", id="symlink-to-a-file-outside"),
        pytest.param("out/secret.png", id="symlink-to-a-folder-outside"),
        pytest.param("dangling.png", id="symlink-to-nothing"),
        pytest.param("loop.png", id="symlink-to-itself"),
        pytest.param("pipe.png", id="pipe"),
        pytest.param("cat.png%00", id="nul"),
        pytest.param("a" * 5000, id="long-name"),
    ],
)
def test_everything_else_is_not_allowed(folder, path):
    with pytest.raises(InvalidRequest) as caught:
        read(folder, f"{folder}/{path}")
    assert caught.value.code == "url_not_allowed"
    assert caught.value.message == "this server does not read that URL"  # tells nothing apart


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "file:///dev/zero",
        "file:///proc/self/environ",
        "file://",
        "file:///",
        "file://cat.png",
        "file://./cat.png",
        "file://other.example/etc/passwd",
    ],
)
def test_paths_elsewhere_are_not_allowed(folder, url, monkeypatch):
    monkeypatch.chdir(folder)
    with pytest.raises(InvalidRequest) as caught:
        Fetcher(FetchRules(file_dir=folder)).fetch(url)
    assert caught.value.code == "url_not_allowed"


def test_by_default_no_file_is_read(folder):
    with pytest.raises(InvalidRequest) as caught:
        read(None, folder / "cat.png")
    assert caught.value.code == "url_not_allowed"


def test_the_allowed_folder_may_itself_be_a_symlink(folder, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(folder)
    assert read(link, link / "cat.png") == b"cat"
    assert read(link, folder / "cat.png") == b"cat"


def test_a_file_beyond_the_limit_is_refused(folder):
    assert read(folder, folder / "cat.png", max_bytes=3) == b"cat"
    with pytest.raises(InvalidRequest) as caught:
        read(folder, folder / "cat.png", max_bytes=2)
    assert caught.value.code == "image_too_large"
