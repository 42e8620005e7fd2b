"""Contexts that one batch promises and others rely on: right rewards whatever becomes of the one that promised."""

import pytest

from service.core import Slice
from service.model.memory import CacheSizes, MemoryPlan
from tests.model.scoring import alone, example, load

PROMPT = "What colour is the circle in the picture?"


@pytest.fixture
def model(make_checkpoint):
    return load(make_checkpoint(), memory=MemoryPlan(caches=CacheSizes(prefix_bytes=10**8)))


def staged(model, encoded, *responses, tenant="default"):
    return model.stage((Slice(encoded, responses, tenant),))


def scored(model, batch):
    return [reward for group in model.score(batch) for reward in group]


@pytest.fixture
def siblings(model, make_checkpoint):
    """Two requests with one context, and the second one's reward by a model that keeps nothing."""
    first, second = example(model, PROMPT, ["red"]), example(model, PROMPT, ["blue"])
    return first, second, alone(load(make_checkpoint()), second)


def test_a_batch_whose_callers_have_gone_costs_their_siblings_nothing(model, siblings):
    """It is staged, and then never run: each later sibling failed, until the context was evicted."""
    first, second, expected = siblings
    gone = staged(model, first, 0)
    for _ in range(3):
        assert scored(model, staged(model, second, 0)) == pytest.approx(expected, abs=1e-5)
    del gone
    assert scored(model, staged(model, second, 0)) == pytest.approx(expected, abs=1e-5)


def test_a_promise_ends_with_the_batch_that_made_it(model, siblings):
    first, second, _ = siblings
    gone = staged(model, first, 0)
    assert staged(model, second, 0).shared == (second.prefix_tokens,)
    del gone
    assert staged(model, second, 0).shared == (0,)


def test_a_promise_that_is_kept_is_used(model, siblings):
    first, second, expected = siblings
    one, other = staged(model, first, 0), staged(model, second, 0)
    assert other.shared == (second.prefix_tokens,)
    scored(model, one)
    assert scored(model, other) == pytest.approx(expected, abs=1e-5)


def test_batches_may_run_in_another_order_than_they_are_staged(model, siblings):
    """Another tenant's small batch goes before the one that was staged first."""
    first, second, expected = siblings
    one, other = staged(model, first, 0), staged(model, second, 0)
    assert scored(model, other) == pytest.approx(expected, abs=1e-5)
    assert scored(model, one) == pytest.approx(scored(model, staged(model, first, 0)), abs=1e-5)
