"""Schemes: the formulas of the paper, and what stays None."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from basereward_client import Scheme, exact_match

scores = st.floats(-1e6, 1e6)


def test_raw_is_the_score_itself() -> None:
    assert Scheme().rewards([1.5, None, -2.0]) == [1.5, None, -2.0]


@given(score=scores, temperature=st.floats(0.01, 100), offset=st.floats(-100, 100))
def test_sigmoid(score: float, temperature: float, offset: float) -> None:
    (got,) = Scheme("sigmoid", temperature, offset).rewards([score])
    x = (score - offset) / temperature
    expected = 0.5 * (1 + math.tanh(x / 2))  # the same function, written otherwise
    assert got == pytest.approx(expected, rel=1e-9, abs=1e-15)


def test_sigmoid_by_hand() -> None:
    assert Scheme("sigmoid").rewards([0.0, None, math.log(3)]) == [0.5, None, pytest.approx(0.75)]
    assert Scheme("sigmoid", temperature=2, offset=1).rewards([1.0]) == [0.5]


def test_hybrid_is_one_for_a_match_and_else_the_sigmoid() -> None:
    rewards = Scheme("hybrid").rewards([0.0, 0.0, 0.0, None], matches=[True, False, None, True])
    assert rewards == [1.0, 0.5, 0.5, None]


def test_matches_matter_to_hybrid_alone() -> None:
    assert Scheme("raw").rewards([2.0], matches=[True]) == [2.0]
    assert Scheme("sigmoid").rewards([0.0], matches=[True]) == [0.5]


@pytest.mark.parametrize(
    ("scheme", "given"),
    [
        (Scheme("hybrid"), {}),
        (Scheme("hybrid"), {"matches": [True]}),
        (Scheme(normalise_groups=True), {}),
        (Scheme(normalise_groups=True), {"groups": ["a"]}),
        (Scheme(normalise_groups=True), {"groups": []}),
    ],
)
def test_what_is_missing_or_short_is_an_error(scheme: Scheme, given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"needs|zip"):
        scheme.rewards([0.0, 1.0], **given)


@pytest.mark.parametrize("settings", [{"kind": "linear"}, {"temperature": 0.0}])
def test_an_impossible_scheme_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="scheme"):
        Scheme(**settings)


def test_groups_are_normalised_only_if_asked() -> None:
    values, groups = [1.0, 3.0, None, 7.0, 5.0, 5.0], list("aaabcc")
    assert Scheme().rewards(values, groups=groups) == values
    half = math.sqrt(0.5)
    expected = [-half, half, None, 0.0, 0.0, 0.0]
    assert Scheme(normalise_groups=True).rewards(values, groups=groups) == [
        None if x is None else pytest.approx(x) for x in expected
    ]


@given(value=scores, count=st.integers(1, 9))
def test_a_group_of_equals_is_zero_exactly(value: float, count: int) -> None:
    rewards = Scheme(normalise_groups=True).rewards([value] * count, groups=[0] * count)
    assert rewards == [0.0] * count


@given(values=st.lists(st.integers(-1000, 1000).map(float), min_size=2, max_size=9, unique=True))
def test_a_group_has_mean_zero_and_deviation_one(values: list[float]) -> None:
    rewards = Scheme(normalise_groups=True).rewards(values, groups=[0] * len(values))
    numbers = [x for x in rewards if x is not None]
    assert math.fsum(numbers) == pytest.approx(0, abs=1e-6)
    assert math.fsum(x * x for x in numbers) / (len(numbers) - 1) == pytest.approx(1)


def test_an_empty_call_is_empty() -> None:
    assert Scheme("hybrid", normalise_groups=True).rewards([], matches=[], groups=[]) == []


@pytest.mark.parametrize(
    ("response", "answer", "match"),
    [
        ("Red", "red", True),
        ("  red. ", "Red", True),
        ("(B)", "b", True),
        ("two  words", "Two words", True),
        ("two words", "twowords", False),
        ("It is red.", "red", False),
        (r"So it is \boxed{12}.", "12", True),
        (r"\boxed{1} no, \boxed{2}", "2", True),
        (r"\boxed{1} no, \boxed{2}", "1", False),
        (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}", True),
        ("<think>hm</think><answer> B. </answer>", "B", True),
        ("<answer>A\nB</answer>", "a b", True),
        ("-3", "3", False),
        ("", "red", False),
        ("red", "", False),
        ("?!", "", False),
        ("...", "?", False),
        ("", "", True),
        ("STRASSE", "straße", True),
    ],
)
def test_exact_match(response: str, answer: str, match: bool) -> None:
    assert exact_match(response, answer) is match
