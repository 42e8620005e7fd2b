"""Where the time of a step goes: what the profiler calls products and attention is still called so."""

import pytest
import torch

from benchmarks import step_time
from benchmarks.offline import Offline
from benchmarks.plan import PLANS
from benchmarks.step_time import StepTime, describe, measure

CASE = next(case for case in PLANS["gpu-check"].cases if "offline" in case.calls)


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="products by another name")
@pytest.mark.parametrize("name", step_time._PRODUCTS)
def test_each_product_is_found(name, folder, monkeypatch):
    monkeypatch.setattr(step_time, "_PRODUCTS", (name,))
    time = measure(Offline(folder), CASE, folder, 0)
    assert time.products_s > 0
    assert time.attention_s > 0


def test_shares_are_of_the_medians():
    times = [StepTime(2.0, 1.0, 0.5), StepTime(4.0, 2.0, 1.0), StepTime(9.0, 3.0, 1.0)]
    lines = describe(times, 6).splitlines()
    assert lines[0].split() == ["whole", "4.000", "s", "1.5", "rewards/s"]
    assert lines[1].split() == ["products", "2.000", "s", "50%"]
    assert lines[3].split() == ["all", "else", "1.000", "s", "25%"]
    assert lines[4] == "products and attention alone: 2 rewards/s"
