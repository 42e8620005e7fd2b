"""A system that is not measured takes nothing from the one that is."""

import sys
import time

import pytest

from benchmarks.processes import Child

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="CPU time is read from /proc")


@pytest.fixture
def busy(tmp_path):
    child = Child([sys.executable, "-c", "while True: pass"], {}, tmp_path / "log")
    yield child
    child.stop()


def spent_s(child):
    before = child.cpu_s()
    time.sleep(0.3)
    return child.cpu_s() - before


def test_it_runs_while_it_is_awake_and_never_else(busy):
    with busy.awake():
        assert spent_s(busy) > 0
    assert spent_s(busy) < 0.05  # a signal may take a moment
    with busy.awake():
        assert spent_s(busy) > 0


def test_a_stopped_one_ends_when_told_to(busy):
    with busy.awake():
        pass
    busy.stop()
    assert not busy.alive
