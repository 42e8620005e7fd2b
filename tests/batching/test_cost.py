"""Work that is counted, and the seconds of it that are learned from steps."""

import math
import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.batching.cost import CostModel, Tally, own_work
from service.core import Example, Work

TRUE = (0.004, 2e-5, 3e-9, 1e-5)  # a step, a token, a pair, a patch


def seconds(work, truth=TRUE):
    step, token, pair, patch = truth
    return step + token * work.tokens + pair * work.pairs + patch * work.patches


def some_work(rng):
    tokens = rng.randrange(50, 16_000)
    return Work(tokens, tokens * rng.randrange(50, 2000), rng.choice([0, 0, 256, 4096]))


def learned(steps, model=None, noise=0.0, seed=0, truth=TRUE, work=some_work):
    rng, model = random.Random(seed), model or CostModel()
    for _ in range(steps):
        step = work(rng)
        model = model.after(step, seconds(step, truth) * rng.uniform(1 - noise, 1 + noise))
    return model


def worst(model, truth=TRUE, work=some_work):
    rng = random.Random(99)
    steps = [work(rng) for _ in range(200)]
    return max(abs(model.predict_s(w) / seconds(w, truth) - 1) for w in steps)


def alike(rng):
    tokens = 1000 + rng.randrange(-20, 20)
    return Work(tokens, tokens * 500, 256)


def example(prefix, *lengths, patches=0):
    return Example(lengths, 0, None, prefix, b"key", image_patches=patches)


def test_siblings_compute_their_context_once():
    group, work = example(3, 5, 4, patches=16), Tally()
    work.add_context(group)
    assert work.work == Work(3, 1 + 2 + 3, 16)
    work.add(own_work(group, (0, 1)))
    assert work.work == Work(3 + 2 + 1, (1 + 2 + 3) + (4 + 5) + 4, 16)
    work.add(own_work(group, (0, 1)), -1)
    work.add_context(group, -1)
    assert work.work == Work(0, 0, 0)


def test_nothing_is_predicted_before_a_step_has_run():
    assert CostModel().predict_s(Work(1000, 1000, 1000)) == 0.0


def test_one_step_is_enough_for_the_next_of_its_kind():
    work = Work(1000, 500_000, 256)
    assert CostModel().after(work, 0.5).predict_s(work) == pytest.approx(0.5, rel=0.01)


def test_the_coefficients_are_found_in_noisy_steps():
    assert worst(learned(200)) < 0.03
    assert worst(learned(300, noise=0.1)) < 0.25
    found = learned(300, noise=0.02).coefficients
    assert found == pytest.approx(TRUE, rel=0.3)


def test_a_machine_that_slows_down_or_recovers_is_followed():
    slow = tuple(2.5 * c for c in TRUE)
    model = learned(300)
    assert worst(learned(200, model, truth=slow), slow) < 0.05
    assert worst(learned(200, learned(200, model, truth=slow))) < 0.05


def test_steps_that_are_all_alike_still_predict_their_kind():
    model = learned(100, noise=0.1, work=alike)
    assert worst(model, work=alike) < 0.1
    double = Work(2000, 1_000_000, 512)
    assert 0.9 < model.predict_s(double) / model.predict_s(Work(1000, 500_000, 256)) < 2.1


@pytest.mark.parametrize("factor", [0.001, 1000.0])
def test_one_wild_step_changes_little(factor):
    model = learned(100)
    wild = some_work(random.Random(7))
    after = model.after(wild, seconds(wild) * factor)
    rng = random.Random(99)
    errors = [after.predict_s(w) / seconds(w) - 1 for w in (some_work(rng) for _ in range(200))]
    assert abs(statistics.fmean(errors)) < 0.15


def test_a_first_step_that_warms_up_is_soon_forgotten():
    work = alike(random.Random(1))
    model = learned(12, CostModel().after(work, 50 * seconds(work)), work=alike)
    assert worst(model, work=alike) < 0.1


def test_a_kind_of_work_that_stopped_coming_is_still_known():
    model = learned(3000, learned(200), work=lambda rng: Work(rng.randrange(50, 9000), 10**6, 0))
    pictures = Work(1100, 600_000, 4096)
    assert model.predict_s(pictures) == pytest.approx(seconds(pictures), rel=0.15)


@pytest.mark.parametrize("nonsense", [0.0, -1.0, math.nan, math.inf])
def test_a_time_that_is_none_teaches_nothing(nonsense):
    assert CostModel().after(Work(10, 10, 0), nonsense) == CostModel()


counts = st.integers(0, 10**12)
steps = st.lists(
    st.tuples(st.builds(Work, counts, counts, counts), st.floats(1e-9, 1e6)), max_size=30
)


@given(steps=steps, asked=st.builds(Work, counts, counts, counts))
def test_no_steps_make_it_negative_or_no_number(steps, asked):
    model = CostModel()
    for work, took in steps:
        model = model.after(work, took)
    assert all(0.0 <= c < math.inf for c in model.coefficients)
    assert 0.0 <= model.predict_s(asked) < math.inf
