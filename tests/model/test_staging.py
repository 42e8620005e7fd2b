"""Staging runs beside a step: it must not take the cores that the step's products need."""

import sys
import threading
from pathlib import Path

import pytest
import torch
from PIL import Image

from service.core import Slice
from tests.model.scoring import example, load


def new_threads(work):
    """Those that there are after the work, done in a thread of its own that still lives, and were not before."""
    found = []

    def compare():
        before = tasks()
        work()
        found.append(tasks() - before)

    thread = threading.Thread(target=compare)
    thread.start()
    thread.join()
    return found[0]


def tasks():
    return {path.name for path in Path("/proc/self/task").iterdir()}


@pytest.mark.skipif(sys.platform != "linux", reason="threads are counted in /proc")
@pytest.mark.skipif(torch.get_num_threads() == 1, reason="torch helps nobody here")
def test_staging_never_comes_to_have_helpers_of_openmp(make_checkpoint):
    """Those of a second thread let the model thread's sleep between operators: 20 % of a step."""
    words = [" ".join(f"{i} {n}" for n in range(400)) for i in range(8)]
    model = load(make_checkpoint())
    some = example(model, "count", words, [Image.new("RGB", (448, 448), "red")])
    step = (Slice(some, tuple(range(len(words)))),)
    staged = []
    assert new_threads(lambda: staged.append(model.stage(step))) == set()
    assert new_threads(lambda: model.score(staged[0]))  # which is how it would be seen
