"""Packed, shared, pruned, kept and deduplicated: every reward is that of one stock forward, and nobody leaks.

The judge is `DoublePair.judge`: stock transformers over one whole sequence, in float64.
"""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.core import Slice
from service.model import blocks, merged
from service.model.memory import CacheSizes
from tests.model.double import DoublePair, without_float32
from tests.model.scoring import example, together

EXACT = 1e-12  # float64
SIZES = [(56, 56), (84, 140), (168, 60), (112, 112)]  # windows of 56 px, whole and ragged
PROMPTS = ["What is this?", "What is this? Say it in one word.", "How many are there?", ""]
WORDS = st.sampled_from(["red", "blue", " seven", "circle ", "\n", "of the", "狮子"])
RESPONSES = st.lists(WORDS, max_size=9).map("".join)
KEEPING = CacheSizes(feature_bytes=10**7, prefix_bytes=10**7, rewards=10**4)
NOTHING_KEPT = CacheSizes(feature_bytes=0)


@pytest.fixture(
    scope="module",
    params=[(kind, rows) for kind in ("qwen2_5_vl", "qwen2_vl") for rows in (False, True)],
    ids=lambda p: f"{p[0]}-{'by-rows' if p[1] else 'stock-layers'}",
)
def double(request, make_checkpoint):
    """By rows, paths are cut where short ones are not: into parts, pieces and blocks of a few tokens."""
    model_type, by_rows = request.param
    with pytest.MonkeyPatch.context() as patch:
        if by_rows:
            patch.setattr(blocks, "_FEW", 3)
            patch.setattr(blocks, "_LONG", 12)
            patch.setattr(merged, "_ROWS", 16)
        yield DoublePair(make_checkpoint(model_type=model_type), by_rows=by_rows)


@st.composite
def groups(draw):
    """(tenant, prompt, pictures by seed and size, responses), many of which have something in common."""
    pictures = draw(st.lists(st.tuples(st.integers(0, 1), st.sampled_from(SIZES)), max_size=2))
    responses = draw(st.lists(RESPONSES, min_size=1, max_size=5))
    return draw(st.sampled_from("ab")), draw(st.sampled_from(PROMPTS)), pictures, responses


def build(double, noise, group):
    tenant, prompt, pictures, responses = group
    images = [noise(*size, seed) for seed, size in pictures]
    encoded = double.example(prompt, responses, images)
    return Slice(encoded, tuple(range(len(responses))), tenant)


def judged(double, step):
    return [[double.judge(part.example, r) for r in part.responses] for part in step]


def same(left, right, tolerance=EXACT):
    assert [len(group) for group in left] == [len(group) for group in right]
    for a, b in zip(sum(left, []), sum(right, []), strict=True):  # noqa: RUF017 - short lists
        assert abs(a - b) <= tolerance, (a, b)


PROPERTY = settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@PROPERTY
@given(st.data())
def test_any_step_equals_one_by_one(double, noise, data):
    double.reset(NOTHING_KEPT)
    step = tuple(
        build(double, noise, g) for g in data.draw(st.lists(groups(), min_size=1, max_size=5))
    )
    same(double.score(step), judged(double, step))


@PROPERTY
@given(st.data())
def test_any_series_of_steps_equals_one_by_one_with_everything_kept(double, noise, data):
    """Features, contexts and rewards of earlier steps, staged behind a running step or after it."""
    double.reset(KEEPING)
    pair_of_steps = st.tuples(*[st.lists(groups(), min_size=1, max_size=3)] * 2)
    for pair in data.draw(st.lists(pair_of_steps, min_size=1, max_size=2)):
        steps = [tuple(build(double, noise, group) for group in step) for step in pair]
        staged = [double.steps.stage(step) for step in steps]  # the second one before the first ran
        for step, one in zip(steps, staged, strict=True):
            same(run(double, one), judged(double, step))
            assert sum(one.shared) == sum(sum(part.lengths) for part in step) - one.work.tokens


def run(double, staged):
    with without_float32():
        return double.steps.score(staged)


def test_equal_rewards_in_float32(pair, noise):
    """The same through the front door, in the precision that serves on a CPU."""
    ours, stock = pair
    image = noise(140, 84)
    cases = [
        ("What is it?", ["Red.", "Blue.", "Red."], [image]),
        ("Why?", ["So."], [image]),
        ("Why?", ["So."], []),
    ]
    rewards = together(ours, [example(ours, p, r, i) for p, r, i in cases])
    for (prompt, responses, images), group in zip(cases, rewards, strict=True):
        for response, reward in zip(responses, group, strict=True):
            assert reward == pytest.approx(stock.reward(prompt, response, images), abs=1e-5)


@pytest.mark.parametrize("sizes", [NOTHING_KEPT, KEEPING], ids=["nothing kept", "everything kept"])
def test_another_item_changes_no_reward(double, noise, sizes):
    group = ("a", "What is this?", [(0, (84, 140))], ["red", "blue", "seven of them"])
    fixed = build(double, noise, group)
    others = [
        ("a", "What is this?", [(0, (84, 140))], ["another answer"]),
        ("a", "What is this?", [(1, (84, 140))], ["red"]),
        ("b", "What is this?", [(0, (84, 140))], ["red"]),
        ("a", "", [], ["red", "red"]),
    ]
    for other in others:
        double.reset(sizes)
        (rewards, _) = double.score((fixed, build(double, noise, other)))
        same([rewards], judged(double, (fixed,)))


@pytest.mark.parametrize("sizes", [NOTHING_KEPT, KEEPING], ids=["nothing kept", "everything kept"])
def test_nan_reaches_the_items_of_its_picture_alone_and_is_not_kept(double, noise, sizes):
    double.reset(sizes)
    good = build(double, noise, ("a", "What is this?", [(0, (84, 140))], ["red", "blue"]))
    bad = build(double, noise, ("a", "What is this?", [(1, (84, 140))], ["red", "blue"]))
    text = build(double, noise, ("a", "What is this?", [], ["red", "blue"]))
    first, poisoned_group, last = double.score((good, poisoned(bad), text))
    assert all(map(math.isnan, poisoned_group))
    same([first, last], judged(double, (good, text)))
    # The same picture without the poison, under the same digest: nothing of the bad step was kept.
    same(double.score((bad,)), judged(double, (bad,)))


def poisoned(part):
    (picture,) = part.example.data.pictures
    nan = dataclasses.replace(picture, data=np.full(picture.data.shape, np.nan, np.float32))
    data = dataclasses.replace(part.example.data, pictures=(nan,))
    return dataclasses.replace(part, example=dataclasses.replace(part.example, data=data))


# What is not computed


def test_a_context_is_computed_once_for_all_its_siblings(double, noise):
    double.reset(NOTHING_KEPT)
    part = build(
        double, noise, ("a", "What is this?", [(0, (112, 112))], [f"{w} it is" for w in "abcdefgh"])
    )
    staged = double.steps.stage((part,))
    context = part.example.prefix_tokens
    assert context > 16  # the picture's tokens are in it
    assert staged.work.tokens <= context + sum(n - context for n in part.lengths)
    assert sum(staged.shared) == sum(part.lengths) - staged.work.tokens


def test_siblings_of_different_requests_share_and_tenants_do_not(double, noise):
    double.reset(NOTHING_KEPT)
    one = ("What is this?", [(0, (112, 112))])
    mine, sibling = (build(double, noise, ("a", *one, [r])) for r in ("red", "blue"))
    stranger = build(double, noise, ("b", *one, ["blue"]))
    alone = double.steps.stage((mine,)).work
    shared = double.steps.stage((mine, sibling)).work
    apart = double.steps.stage((mine, stranger)).work
    assert shared.tokens < alone.tokens + 10
    assert shared.patches == alone.patches
    assert apart.tokens > 2 * alone.tokens - 10
    assert apart.patches == 2 * alone.patches
    assert double.steps.stage((mine, stranger)).shared == (0, 0)


def test_equal_pairs_are_computed_once(double, noise):
    double.reset(NOTHING_KEPT)
    part = build(double, noise, ("a", "What is this?", [], ["red"] * 5))
    staged = double.steps.stage((part, part))
    assert staged.work.tokens == part.lengths[0]
    assert sum(staged.shared) == 9 * part.lengths[0]
    same(run(double, staged), judged(double, (part, part)))


def test_a_picture_is_encoded_once_even_by_a_step_staged_meanwhile(double, noise):
    double.reset(CacheSizes(feature_bytes=10**7))
    first = build(double, noise, ("a", "What is this?", [(0, (112, 112))], ["red"]))
    second = build(double, noise, ("a", "How many?", [(0, (112, 112))], ["two"]))
    calls = []
    encode = double.tower.features
    double.tower.features = lambda plan: calls.append(plan.tokens) or encode(plan)
    staged = [double.steps.stage((part,)) for part in (first, second)]
    for part, one in zip((first, second), staged, strict=True):
        same(run(double, one), judged(double, (part,)))
    assert calls == [(16,)]


def test_a_late_sibling_computes_its_own_tokens_alone(double, noise):
    double.reset(CacheSizes(prefix_bytes=10**7))
    first = build(double, noise, ("a", "What is this?", [(0, (112, 112))], ["red", "blue"]))
    late = build(double, noise, ("a", "What is this?", [(0, (112, 112))], ["seven of them"]))
    stranger = dataclasses.replace(late, tenant="b")
    staged = [double.steps.stage((part,)) for part in (first, late, stranger)]  # all before any ran
    assert staged[1].work.tokens == late.lengths[0] - late.example.prefix_tokens
    assert staged[1].work.patches == 0
    assert staged[2].work.tokens == late.lengths[0]
    for part, one in zip((first, late, stranger), staged, strict=True):
        same(run(double, one), judged(double, (part,)))


def test_a_context_whose_step_failed_is_not_waited_for(double, noise):
    double.reset(CacheSizes(prefix_bytes=10**7))
    first = build(double, noise, ("a", "What is this?", [(0, (112, 112))], ["red"]))
    late = build(double, noise, ("a", "What is this?", [(0, (112, 112))], ["blue"]))
    broken, waiting = double.steps.stage((first,)), double.steps.stage((late,))
    encode = double.tower.features
    double.tower.features = lambda plan: (_ for _ in ()).throw(MemoryError)
    with pytest.raises(MemoryError):
        double.steps.score(broken)
    double.tower.features = encode
    with without_float32():
        again = double.steps.score(waiting)  # laid out once more by itself
    same(again, judged(double, (late,)))
    same(double.score((late,)), judged(double, (late,)))


def test_a_remembered_reward_needs_no_step(double, noise):
    double.reset(CacheSizes(rewards=10))
    part = build(double, noise, ("a", "What is this?", [(0, (56, 56))], ["red", "blue"]))
    known = double.score((part,))
    again = double.steps.stage((part,))
    assert again.work.tokens == 0
    assert again.shared == (sum(part.lengths),)
    assert double.steps.score(again) == known
    stranger = double.steps.stage((dataclasses.replace(part, tenant="b"),))
    assert stranger.work.tokens > 0
