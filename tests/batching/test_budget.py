"""A step's token budget: halved at once, given back slowly, never above what was asked for."""

from hypothesis import given
from hypothesis import strategies as st

from service.batching.budget import LEAST_TOKENS, PATIENCE_STEPS, Budget


def test_half_of_the_step_that_did_not_fit():
    assert Budget.of(16_384).after_out_of_memory(12_000).tokens == 6_000
    assert Budget.of(16_384).after_out_of_memory(12_000).after_out_of_memory(6_000).tokens == 3_000


def test_a_larger_step_than_the_budget_does_not_raise_it():
    """One long response may be more than the budget."""
    assert Budget.of(1_000).after_out_of_memory(50_000).tokens == 1_000


def test_it_never_ends_at_nothing():
    budget = Budget.of(16_384)
    for _ in range(50):
        budget = budget.after_out_of_memory(budget.tokens)
    assert budget.tokens == LEAST_TOKENS
    assert Budget.of(100).after_out_of_memory(100).tokens == 100  # a smaller one was asked for


def test_it_comes_back_a_tenth_at_a_time():
    budget = Budget.of(10_000).after_out_of_memory(10_000)
    for _ in range(PATIENCE_STEPS - 1):
        budget = budget.after_success()
    assert budget.tokens == 5_000
    assert budget.after_success().tokens == 5_500
    for _ in range(20 * PATIENCE_STEPS):
        budget = budget.after_success()
    assert budget.tokens == 10_000


@given(st.integers(1, 10**6), st.lists(st.integers(0, 10**6), max_size=30))
def test_it_stays_within_bounds(full, steps):
    budget = Budget.of(full)
    for tokens in steps:
        budget = budget.after_out_of_memory(tokens) if tokens else budget.after_success()
        assert min(full, LEAST_TOKENS) <= budget.tokens <= full
