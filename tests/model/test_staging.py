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
    """How many threads a new one has come to have as helpers once it has done the work."""
    counts = []

    def count():
        before = len(list(Path("/proc/self/task").iterdir()))
        work()
        counts.append(len(list(Path("/proc/self/task").iterdir())) - before)

    thread = threading.Thread(target=count)
    thread.start()
    thread.join()
    return counts[0]


@pytest.mark.skipif(sys.platform != "linux", reason="threads are counted in /proc")
@pytest.mark.skipif(torch.get_num_threads() == 1, reason="torch helps nobody here")
def test_staging_never_comes_to_have_helpers_of_openmp(make_checkpoint):
    """Those of a second thread let the model thread's sleep between operators: 20 % of a step."""
    words = [" ".join(f"{i} {n}" for n in range(400)) for i in range(8)]
    model = load(make_checkpoint())
    some = example(model, "count", words, [Image.new("RGB", (448, 448), "red")])
    step = (Slice(some, tuple(range(len(words)))),)
    staged = []
    assert new_threads(lambda: staged.append(model.stage(step))) == 0
    assert new_threads(lambda: model.score(staged[0])) > 0  # which is how it would be seen
