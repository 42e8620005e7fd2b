"""Cores by affinity and quota, and what is set for libraries before torch is loaded."""

import os
import subprocess
import sys

import pytest

from service.cores import usable_cores
from service.sources import set_library_defaults


@pytest.fixture
def many(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)), raising=False)


@pytest.mark.parametrize(
    ("stated", "cores"),
    [("max 100000", 64), ("200000 100000", 2), ("150000 100000", 2), ("5000 100000", 1)],
)
def test_the_quota_of_the_control_group(tmp_path, many, stated, cores):
    (tmp_path / "cpu.max").write_text(stated + "\n")
    assert usable_cores(tmp_path) == cores


@pytest.mark.parametrize(("quota", "cores"), [("-1", 64), ("300000", 3)])
def test_the_older_control_groups(tmp_path, many, quota, cores):
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu/cpu.cfs_quota_us").write_text(quota)
    (tmp_path / "cpu/cpu.cfs_period_us").write_text("100000")
    assert usable_cores(tmp_path) == cores


def test_without_a_quota_the_affinity_counts(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5}, raising=False)
    assert usable_cores(tmp_path) == 2


@pytest.mark.parametrize(
    ("arguments", "environ", "policy"),
    [
        ([], {}, "PASSIVE"),
        (["serve", "--cpu-wait", "active"], {}, None),
        (["serve", "--cpu-wait=active"], {}, None),
        ([], {"BASEREWARD_CPU_WAIT": "active"}, None),
        (["--cpu-wait", "passive"], {"BASEREWARD_CPU_WAIT": "active"}, "PASSIVE"),
        ([], {"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE"),
        (["--config", "/nowhere.toml"], {}, "PASSIVE"),
    ],
)
def test_how_threads_wait_is_set_before_torch_is_loaded(arguments, environ, policy):
    environ = dict(environ)
    set_library_defaults(arguments, environ)
    assert environ.get("OMP_WAIT_POLICY") == policy
    assert environ["TOKENIZERS_PARALLELISM"] == "false"


def test_the_file_of_settings_is_looked_into(tmp_path):
    path, environ = tmp_path / "settings.toml", {}
    path.write_text('cpu_wait = "active"\n')
    set_library_defaults(["serve", "--config", str(path)], environ)
    assert "OMP_WAIT_POLICY" not in environ


def test_the_command_loads_torch_with_it():
    program = (
        "import os, sys, service.__main__ as m\n"
        "m.sources.set_library_defaults()\n"
        "assert 'torch' not in sys.modules\n"
        "print(os.environ['OMP_WAIT_POLICY'])"
    )
    clean = {k: v for k, v in os.environ.items() if k != "OMP_WAIT_POLICY"}
    done = subprocess.run(
        (sys.executable, "-c", program), env=clean, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "PASSIVE"
