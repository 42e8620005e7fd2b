"""The locks are what pyproject.toml asks for, in the versions that the tests run with, each with its hashes."""

from importlib.metadata import requires

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.docker.files import LOCKS, ROOT, locked, project

APP, CUDA, CPU, BUILD = (locked(name) for name in ("app", "torch-cu130", "torch-cpu", "build"))
INSTALLED = APP | CUDA
OPTIONAL = project()["project"]["optional-dependencies"]
WANTED = [Requirement(r) for r in (*project()["project"]["dependencies"], *OPTIONAL["otel"])]


@pytest.mark.parametrize("wanted", WANTED, ids=str)
def test_what_the_project_needs_is_locked_within_its_range(wanted):
    assert wanted.specifier.contains(INSTALLED[canonicalize_name(wanted.name)])


def test_what_those_need_is_locked_too():
    """By the metadata of what is installed here; the extras that a requirement names are followed."""
    todo, seen = list(WANTED), set()
    while todo:
        wanted = todo.pop()
        name = canonicalize_name(wanted.name)
        for extra in {"", *wanted.extras}:
            if (name, extra) in seen:
                continue
            seen.add((name, extra))
            below = [Requirement(r) for r in requires(name) or ()]
            todo += [r for r in below if not r.marker or r.marker.evaluate({"extra": extra})]
    assert {name for name, _ in seen} <= set(INSTALLED)


def test_known_holes_are_shut():
    assert INSTALLED["pillow"] >= Version("13")
    assert INSTALLED["starlette"] >= Version("1.3")


def test_torch_is_the_one_that_is_tested():
    assert CUDA["torch"] == Version("2.13.0")
    assert CPU["torch"] == Version("2.13.0+cpu")
    assert "nvidia-cudnn-cu13" in CUDA


def test_the_cpu_build_differs_by_the_gpu_alone():
    assert {k: v for k, v in CPU.items() if k != "torch"}.items() <= CUDA.items()
    missing = set(CUDA) - set(CPU)
    assert all(name == "triton" or name.startswith(("cuda-", "nvidia-")) for name in missing)


def test_versions_are_those_of_the_constraints():
    lines = (ROOT / "constraints.txt").read_text("utf-8").split()
    pairs = (line.split("==") for line in lines)
    tested = {canonicalize_name(name): Version(version) for name, version in pairs}
    for lock in (APP, CUDA, CPU, BUILD):
        assert {k: v for k, v in lock.items() if k in tested and v != tested[k]} == {}


def test_layers_share_no_package():
    assert not set(APP) & set(CUDA)
    assert not set(APP) & set(CPU)


def test_nothing_is_installed_that_only_builds():
    assert {"pip", "hatchling", "pytest"} & set(INSTALLED) == set()
    assert {"hatchling"} <= set(BUILD)


def test_no_lock_is_forgotten():
    assert {p.stem for p in LOCKS.iterdir()} == {"app", "torch-cu130", "torch-cpu", "build"}
