"""What goes into the next step: a table, and properties over any line."""

import math
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.batching.policy import LIGHT, BatchLimits, Queue, close_in_s, due, light, take_step

LIMITS = BatchLimits(max_tokens=100, max_responses=8, max_passed=16)


@dataclass(eq=False)
class Group:
    """A context of `prefix` tokens, and what each waiting response adds to it."""

    prefix: int
    owns: list[int]

    @property
    def tokens(self):
        return self.prefix + sum(self.owns)

    @property
    def responses(self):
        return len(self.owns)

    def own(self):
        return iter(self.owns)


class Share:
    def __init__(self, *groups, weight=1.0, served=0.0):
        self.groups = [Group(prefix, list(owns)) for prefix, owns in groups]
        self.weight = weight
        self.served = served
        self.looks = 0

    def queue(self):
        return Queue(self._looked(), self.weight, self.served)

    def _looked(self):
        for group in self.groups:
            self.looks += 1
            yield group


def take(*shares, limits=LIMITS):
    """Takes a step out of the shares: what was taken, as (share, group's number, responses)."""
    numbered = {g: (s, n) for s, share in enumerate(shares) for n, g in enumerate(share.groups)}
    parts, served = take_step({s: share.queue() for s, share in enumerate(shares)}, limits)
    for part in parts:
        del part.unit.owns[: part.responses]
    for s, share in enumerate(shares):
        share.served = served[s]
        share.groups = [group for group in share.groups if group.owns]
    return [(*numbered[part.unit], part.responses) for part in parts]


def single(tokens):
    return (0, [tokens])


TABLE = {
    "an empty line gives an empty step": ([], []),
    "one response goes": ([Share(single(10))], [(0, 0, 1)]),
    "a context counts once: six responses of 60 tokens are 100": (
        [Share((40, [10] * 6))],
        [(0, 0, 6)],
    ),
    "a group that does not fit is passed over whole": (
        [Share(single(60), (40, [10]))],
        [(0, 0, 1)],
    ),
    "the room is filled with the largest that fits": (
        [Share(single(60), (40, [10]), single(10), single(30), single(20))],
        [(0, 0, 1), (0, 3, 1), (0, 2, 1)],
    ),
    "the room is filled with another share's group": (
        [Share(single(60), (40, [10])), Share((50, [20]), single(15))],
        [(0, 0, 1), (1, 1, 1)],
    ),
    "a group over the budget goes first, as far as it fits": (
        [Share((20, [30] * 9), single(10))],
        [(0, 0, 2), (0, 1, 1)],
    ),
    "a group over the budget uses the room behind others": (
        [Share(single(30), (20, [20] * 9))],
        [(0, 0, 1), (0, 1, 2)],
    ),
    "but not for a part that is mostly context": (
        [Share(single(30), (40, [20] * 9))],
        [(0, 0, 1)],
    ),
    "what shares no context is cut anywhere": (
        [Share(single(30), (0, [20, 20, 20, 20]))],
        [(0, 0, 1), (0, 1, 3)],
    ),
    "half of a step is for the responses, however much of it their context takes": (
        [Share((90, [10] * 9), single(10))],
        [(0, 0, 5)],
    ),
    "or however much longer than a step it is": (
        [Share((300, [20] * 4))],
        [(0, 0, 2)],
    ),
    "but one who comes second has the room that is left": (
        [Share(single(20), (90, [10] * 9))],
        [(0, 0, 1)],
    ),
    "a response over the budget runs alone": (
        [Share(single(500), single(10))],
        [(0, 0, 1)],
    ),
    "responses are bounded too": ([Share((1, [1] * 20))], [(0, 0, 8)]),
    "a group with too many responses for what is left waits": (
        [Share((1, [1] * 5), (1, [1] * 4), (1, [1] * 3))],
        [(0, 0, 5), (0, 2, 3)],
    ),
    "shares take turns": (
        [Share(*[single(25)] * 4), Share(*[single(25)] * 4)],
        [(0, 0, 1), (1, 0, 1), (0, 1, 1), (1, 1, 1)],
    ),
    "a share of three times the weight gets three of four": (
        [Share(*[single(25)] * 4, weight=3.0), Share(*[single(25)] * 4)],
        [(0, 0, 1), (0, 1, 1), (1, 0, 1), (0, 2, 1)],
    ),
    "who was served more before waits": (
        [Share(*[single(50)] * 3, served=100.0), Share(*[single(50)] * 3)],
        [(1, 0, 1), (1, 1, 1)],
    ),
    "a small group passes a large one of another share": (
        [Share((20, [30] * 9)), Share(single(10))],
        [(1, 0, 1), (0, 0, 2)],
    ),
}


@pytest.mark.parametrize("name", TABLE)
def test_table(name):
    shares, expected = TABLE[name]
    fresh = [
        Share(*((g.prefix, g.owns) for g in s.groups), weight=s.weight, served=s.served)
        for s in shares
    ]
    assert take(*fresh) == expected


groups = st.tuples(st.integers(0, 120), st.lists(st.integers(1, 150), min_size=1, max_size=12))
weights = st.floats(0.01, 100.0)
lines = st.lists(st.tuples(weights, st.lists(groups, max_size=20)), max_size=5)


def shares_of(line):
    return [Share(*groups, weight=weight) for weight, groups in line]


@given(line=lines)
def test_limits_hold_and_the_line_moves(line):
    shares = shares_of(line)
    queues = {s: share.queue() for s, share in enumerate(shares)}
    parts, _ = take_step(queues, LIMITS)
    assert bool(parts) == any(groups for _, groups in line)
    assert len({part.unit for part in parts}) == len(parts)
    assert all(1 <= part.responses <= part.unit.responses for part in parts)
    responses = sum(part.responses for part in parts)
    tokens = sum(part.unit.prefix + sum(part.unit.owns[: part.responses]) for part in parts)
    assert responses <= LIMITS.max_responses
    most = max((parts[0].unit.prefix if parts else 0) + LIMITS.max_tokens // 2, LIMITS.max_tokens)
    assert tokens <= most or responses == 1


@given(line=lines)
def test_a_group_is_cut_only_where_it_must_be(line):
    parts, _ = take_step({s: share.queue() for s, share in enumerate(shares_of(line))}, LIMITS)
    for part in parts:
        unit = part.unit
        room = LIMITS.max_tokens
        if part is parts[0]:
            room = max(room, unit.prefix + LIMITS.max_tokens // 2)
        fits = unit.tokens <= room and unit.responses <= LIMITS.max_responses
        assert part.responses == unit.responses or not fits or unit.prefix == 0


@given(line=lines)
def test_what_is_charged_is_what_was_taken(line):
    shares = shares_of(line)
    parts, served = take_step({s: share.queue() for s, share in enumerate(shares)}, LIMITS)
    for s, share in enumerate(shares):
        mine = [part for part in parts if part.unit in share.groups]
        tokens = sum(p.unit.prefix + sum(p.unit.owns[: p.responses]) for p in mine)
        assert served[s] == pytest.approx(tokens / share.weight)


@given(line=lines)
def test_step_after_step_everything_is_taken_in_order(line):
    shares = shares_of(line)
    waiting = sum(len(group.owns) for share in shares for group in share.groups)
    taken = 0
    while step := take(*shares):
        taken += sum(responses for _, _, responses in step)
    assert taken == waiting


@given(sizes=st.lists(st.integers(1, 100), min_size=1, max_size=200))
def test_steps_are_well_filled(sizes):
    share = Share(*[(size // 2, [size - size // 2]) for size in sizes])
    limits = BatchLimits(max_tokens=400, max_responses=1000)
    steps = 0
    while take(share, limits=limits):
        steps += 1
    assert steps <= max(math.ceil(1.25 * sum(sizes) / 400), 1)


def test_choosing_looks_at_a_bounded_number_of_groups():
    shares = [Share(*[single(1)] * 4000), Share(*[single(1)] * 4000)]
    limits = BatchLimits(max_tokens=10**6, max_responses=64, max_passed=16)
    parts, _ = take_step({s: share.queue() for s, share in enumerate(shares)}, limits)
    assert len(parts) == 64
    assert sum(share.looks for share in shares) <= 64 + len(shares)
    shares = [Share(*[single(70)] * 4000), Share(*[single(70)] * 4000)]
    take_step({s: share.queue() for s, share in enumerate(shares)}, LIMITS)
    assert sum(share.looks for share in shares) <= 1 + len(shares) + LIMITS.max_passed


def test_the_turn_of_a_request():
    assert due(10.0, 1000.0, 0.0) == 10.0  # nothing known: first come, first served
    assert due(10.0, 1000.0, 0.1) < due(9.0, 1000.0, 10.0)  # small ones pass
    assert due(60.0, 1000.0, 0.1) > due(9.0, 1000.0, 10.0)  # but not for ever
    assert due(0.0, 1000.0, 2.0) < due(0.0, 1000.0, 8.0)  # begun: less is left of it
    assert due(10.0, 13.0, 2.0) == 11.0  # a deadline that is near comes first
    assert due(10.0, 13.0, 5.0) == 30.0  # one that cannot be met does not


def test_a_step_stays_open_until_the_one_before_is_about_to_end():
    assert close_in_s(100.0, 1.0, 0.05, now=100.0) == pytest.approx(0.9)
    assert close_in_s(100.0, 1.0, 0.05, now=100.6) == pytest.approx(0.3)
    assert close_in_s(100.0, 1.0, 0.05, now=101.0) == 0.0
    assert close_in_s(100.0, 0.0, 0.05, now=100.0) == 0.0


@pytest.mark.parametrize(
    ("costs_s", "step_s", "first"),
    [
        ({"a": 0.1, "b": 1.0}, 1.05, {"a"}),
        ({"a": 0.2, "b": 1.0}, 1.15, set()),  # not so little
        ({"a": 0.05, "b": 0.05, "c": 1.0}, 1.1, {"a", "b"}),
        ({"a": 0.09, "b": 0.08, "c": 1.0}, 1.1, {"b"}),  # together they would take too long
        ({"a": 0.0, "b": 0.0}, 0.0, set()),  # nothing is known of a first step
    ],
)
def test_who_has_little_to_do_goes_first(costs_s, step_s, first):
    assert light(costs_s, step_s) == first


@given(st.dictionaries(st.integers(0, 9), st.floats(1e-3, 1.0)), st.floats(1e-3, 10.0))
def test_others_never_lose_more_than_a_part_of_a_step(costs_s, step_s):
    assert sum(costs_s[key] for key in light(costs_s, step_s)) < LIGHT * step_s or not costs_s
