"""A failed step in halves: whatever is at fault ends alone, at few steps, and everything else keeps its reward."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.batching.salvage import count_of, halves, salvage
from service.core import Example, Slice
from service.errors import DeviceLost, ServiceError


def step_of(sizes):
    """Slices of so many responses; the k-th response of slice s is worth 100 s + k."""
    return tuple(Slice(Example((9,) * n, 0, s), tuple(range(n))) for s, n in enumerate(sizes))


def worth(step):
    return [[100.0 * part.example.data + r for r in part.responses] for part in step]


def named(step):
    return [value for group in worth(step) for value in group]


sizes = st.lists(st.integers(1, 9), min_size=1, max_size=8)


@given(sizes)
def test_halves_are_the_step_in_order(sizes):
    step = step_of(sizes)
    first, second = halves(step)
    assert named(first) + named(second) == named(step)
    assert count_of(second) - count_of(first) in (0, 1)
    assert all(part.responses for part in first + second)


@given(sizes, st.data())
def test_only_what_is_at_fault_fails(sizes, data):
    step = step_of(sizes)
    bad = data.draw(st.sets(st.sampled_from(named(step)), min_size=1))
    tried, noted = [], []

    def score(part):
        tried.append(part)
        if bad & set(named(part)):
            raise RuntimeError("no")
        return worth(part)

    outcomes = salvage(step, score, lambda error, part: noted.append(part))
    assert len(outcomes) == count_of(step)
    for value, outcome in zip(named(step), outcomes, strict=True):
        if value in bad:
            assert isinstance(outcome, ServiceError)
            assert outcome.code == "model_failure"
        else:
            assert outcome == value
    assert noted == [part for part in tried if bad & set(named(part))]


@pytest.mark.parametrize("responses", [2, 16, 100, 512])
def test_one_of_many_costs_a_few_steps(responses):
    step, tried = step_of([responses]), []

    def score(part):
        tried.append(count_of(part))
        if 1.0 in named(part):
            raise RuntimeError("no")
        return worth(part)

    salvage(step, score, lambda error, part: None)
    assert len(tried) <= 2 * math.ceil(math.log2(responses))
    assert sum(tried) <= 2 * responses + 20


def test_a_lost_device_ends_it():
    tried = []

    def score(part):
        tried.append(part)
        raise DeviceLost("gone")

    with pytest.raises(DeviceLost):
        salvage(step_of([8]), score, lambda error, part: pytest.fail("not its fault"))
    assert len(tried) == 1
