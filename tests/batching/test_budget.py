"""A step's token budget: halved at once, given back slowly, never above what was asked for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.batching.budget import LEAST_TOKENS, PATIENCE_STEPS, Budget
from service.batching.policy import BatchLimits, Queue, take_step
from service.model.memory import largest_step
from tests.batching.test_policy import Group


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


def step_tokens(budget: Budget, group: Group) -> int:
    limits = BatchLimits(budget.tokens, 512, budget.most)
    (part,), _ = take_step({"share": Queue(iter([group]))}, limits)
    return group.prefix + sum(group.owns[: part.responses])


@pytest.mark.parametrize(("context", "memory"), [(9_000, 10_500), (20_000, 24_000), (3_000, 9_000)])
def test_steps_over_a_long_context_soon_fit(context, memory):
    """More room than the budget is theirs; what ran out of memory is remembered, or it would run out for ever."""
    budget, failed = Budget.of(10_000), 0
    for _ in range(PATIENCE_STEPS):
        tokens = step_tokens(budget, Group(context, [100] * 64))
        failed += tokens > memory
        fits = tokens <= memory
        budget = budget.after_success() if fits else budget.after_out_of_memory(tokens)
    assert failed <= 4


def test_what_ran_out_of_memory_is_tried_again_and_at_last_forgotten():
    budget = Budget.of(10_000).after_out_of_memory(15_000)
    assert budget.most == pytest.approx(13_500)
    for _ in range(PATIENCE_STEPS):
        budget = budget.after_success()
    assert budget.most == pytest.approx(14_850)
    for _ in range(20 * PATIENCE_STEPS):
        budget = budget.after_success()
    assert budget == Budget.of(10_000)


@given(st.integers(256, 20_000), st.integers(256, 40_000), st.data())
def test_memory_is_planned_for_the_largest_step_that_is_chosen(tokens, longest, data):
    context = data.draw(st.integers(0, longest - 1))
    group = Group(context, data.draw(st.lists(st.integers(1, longest - context), min_size=1)))
    assert step_tokens(Budget.of(tokens), group) <= largest_step(tokens, longest)
