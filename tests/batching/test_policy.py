"""What goes into the next step: a table, and properties over any line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.batching.policy import MIN_FILL, BatchLimits, Pace, take_step

LIMITS = BatchLimits(max_tokens=100, max_responses=8)

TABLE = {
    "empty": ([], []),
    "one": ([[10]], [(0,)]),
    "fills to the budget": ([[25], [25], [25], [25], [25]], [(0,), (0,), (0,), (0,), ()]),
    "padding counts": ([[50], [26], [26]], [(0,), (0,), ()]),
    "bigger than the budget runs alone": ([[500], [10]], [(0,), ()]),
    "the first in line always goes": ([[500]], [(0,)]),
    "a group is cut where the budget ends": ([[20, 20, 20, 20, 20, 20]], [(0, 1, 2, 3, 4)]),
    "a long one does not stop the line": ([[20], [90], [20]], [(0,), (), (0,)]),
    "short ones are not padded to a long one": ([[90], [5]], [(0,), ()]),
    "rows are bounded": ([[1] * 20], [tuple(range(8))]),
}


@pytest.mark.parametrize("name", TABLE)
def test_table(name):
    line, expected = TABLE[name]
    assert take_step(line, LIMITS) == expected


lines = st.lists(st.lists(st.integers(1, 300), min_size=1, max_size=12), max_size=30)


@given(line=lines)
def test_limits_hold_and_the_line_moves(line):
    chosen = take_step(line, LIMITS)
    lengths = [line[g][p] for g, taken in enumerate(chosen) for p in taken]
    assert bool(lengths) == bool(line)
    if line:
        assert chosen[0][0] == 0
    if len(lengths) > 1:
        padded = len(lengths) * max(lengths)
        assert padded <= LIMITS.max_tokens
        assert sum(lengths) >= padded * MIN_FILL
        assert len(lengths) <= LIMITS.max_responses


@given(line=lines)
def test_every_response_is_taken_exactly_once(line):
    left = [list(enumerate(group)) for group in line]
    taken = []
    while any(left):
        left = [group for group in left if group]
        chosen = take_step([[length for _, length in group] for group in left], LIMITS)
        for group, positions in zip(left, chosen, strict=False):
            taken += [group[p] for p in positions]
            group[:] = [x for p, x in enumerate(group) if p not in positions]
    assert sorted(taken) == sorted(x for group in line for x in enumerate(group))


def test_pace_follows_the_steps():
    pace = Pace()
    assert pace.predict_s(1000) == 0.0
    pace = pace.after(1000, 1.0)
    assert pace.predict_s(500) == pytest.approx(0.5)
    for _ in range(50):
        pace = pace.after(1000, 2.0)
    assert pace.predict_s(500) == pytest.approx(1.0, rel=1e-3)
