"""A system that is not measured takes nothing from the one that is."""

import sys
import time
from pathlib import Path

import pytest

from benchmarks.processes import Child

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="CPU time is read from /proc")


@pytest.fixture
def busy(tmp_path):
    child = Child([sys.executable, "-c", "while True: pass"], {}, tmp_path / "log")
    yield child
    child.stop()


def stopped(child):
    """A signal takes a moment to arrive; a process that it never stops fails the test."""
    stat = Path(f"/proc/{child.process.pid}/stat")
    until = time.monotonic() + 10
    while stat.read_text().rpartition(")")[2].split()[0] != "T":
        assert time.monotonic() < until
        time.sleep(0.01)
    return child


def spent_s(child):
    before = child.cpu_s()
    time.sleep(0.3)
    return child.cpu_s() - before


def test_it_runs_while_it_is_awake_and_never_else(busy):
    with busy.awake():
        assert spent_s(busy) > 0
    assert spent_s(stopped(busy)) == 0
    with busy.awake():
        assert spent_s(busy) > 0


def test_a_stopped_one_ends_when_told_to(busy):
    with busy.awake():
        pass
    stopped(busy).stop()
    assert not busy.alive
