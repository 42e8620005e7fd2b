"""The tree of shared stretches: complete, without repetition worth saving, and split only between tokens."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.model.layout import MIN_SHARED_TOKENS, Keyed, Stretch, grow, place

tokens = st.lists(st.integers(0, 2), min_size=1, max_size=12)


@st.composite
def families(draw):
    """Sequences that grow out of each other, with equal ones and prefixes of others among them, each cut into head
    and tail somewhere; some share the head's array, some have one of their own.
    """
    stems = draw(st.lists(st.lists(st.integers(0, 2), max_size=30), min_size=1, max_size=4))
    sequences = [
        draw(st.sampled_from(stems)) + draw(tokens) for _ in range(draw(st.integers(1, 9)))
    ]
    whole = sequences + draw(st.lists(st.sampled_from(sequences), max_size=3))
    cut = [
        s[: draw(st.integers(1, len(s)))]
        for s in draw(st.lists(st.sampled_from(whole), max_size=2))
    ]
    heads: dict[tuple[int, ...], np.ndarray] = {}
    keyed = []
    for s in whole + cut:
        at = draw(st.one_of(st.just(0), st.integers(0, len(s) - 1)))
        own = np.array(s[:at], dtype=np.int64)
        head = heads.setdefault(tuple(s[:at]), own) if draw(st.booleans()) else own
        keyed.append(Keyed(head, np.array(s[at:], dtype=np.int64)))
    return keyed


def plain(sequences):
    return [Keyed(np.empty(0, dtype=np.int64), np.array(s, dtype=np.int64)) for s in sequences]


def spelled(stretch, sequences):
    return np.concatenate(
        [sequences[s.owner].keys[s.start : s.stop] for s in stretch.path()]
    ).tolist()


@given(families())
def test_every_sequence_can_be_read_along_its_path(sequences):
    tree = grow(sequences, [None] * len(sequences))
    for i, sequence in enumerate(sequences):
        assert spelled(tree.ends[i], sequences) == sequence.keys.tolist()


@given(families())
def test_equal_sequences_end_together_and_others_apart(sequences):
    tree = grow(sequences, [None] * len(sequences))
    distinct = {tuple(s.keys.tolist()) for s in sequences}
    assert len({id(tree.ends[i]) for i in range(len(sequences))}) == len(distinct)
    for i, a in enumerate(sequences):
        for j, b in enumerate(sequences):
            equal = a.keys.tolist() == b.keys.tolist()
            assert (tree.ends[i] is tree.ends[j]) == equal


@given(families())
def test_no_two_stretches_of_one_parent_share_what_is_worth_sharing(sequences):
    tree = grow(sequences, [None] * len(sequences))
    by_parent: dict[int, list[list[int]]] = {}
    for s in tree.stretches:
        own = sequences[s.owner].keys[s.start : s.stop].tolist()
        by_parent.setdefault(id(s.parent), []).append(own[:MIN_SHARED_TOKENS])
    for starts in by_parent.values():
        long = [tuple(s) for s in starts if len(s) == MIN_SHARED_TOKENS]
        assert len(long) == len(set(long))


@given(families())
def test_where_sequences_are_cut_changes_little(sequences):
    """What is computed is what whole sequences share, but for a head that ends within the shortest stretch."""
    whole = plain([s.keys for s in sequences])
    cut = place([grow(sequences, [None] * len(sequences))])
    assert abs(cut - place([grow(whole, [None] * len(whole))])) <= MIN_SHARED_TOKENS * len(whole)


@given(families())
def test_parents_stand_before_their_children_and_rows_have_no_gaps(sequences):
    tree = grow(sequences, [None] * len(sequences))
    length = place([tree])
    assert length <= sum(len(s.keys) for s in sequences)
    rows = sorted((s.row, s.row + s.length) for s in tree.stretches)
    assert [start for start, _ in rows] == [0, *(stop for _, stop in rows[:-1])]
    assert rows[-1][1] == length
    for s in tree.stretches:
        assert s.length > 0
        assert s.parent is None or s.parent.row + s.parent.length <= s.row


@pytest.mark.parametrize("head", [0, 50, 100])
def test_a_group_computes_its_context_once(head):
    context = np.arange(100)
    sequences = [
        Keyed(context[:head], np.array([*context[head:], 200 + i, 300 + i])) for i in range(16)
    ]
    assert place([grow(sequences, [None] * 16)]) == 100 + 16 * 2


def test_what_tails_begin_with_is_computed_once_however_short():
    """`assistant` and a line break, before each response: too short to share by itself."""
    head = np.arange(40)
    sequences = [Keyed(head.copy(), np.array([90, 91, 200 + i, 300])) for i in range(5)]
    assert place([grow(sequences, [None] * 5)]) == 40 + 2 + 5 * 2


def test_a_conversation_that_goes_on_continues_a_shorter_one():
    """The answer scored in one request is part of the context of the next."""
    first, answer, more = np.arange(30), list(range(100, 112)), list(range(200, 220))
    sequences = [
        Keyed(first, np.array([*answer, 7])),
        Keyed(first, np.array([300, 301, 302])),
        Keyed(np.array([*first, *answer, *more]), np.array([8, 9])),
        Keyed(np.array([*first, *answer, *more]), np.array([10, 9])),
    ]
    assert place([grow(sequences, [None] * 4)]) == 30 + 12 + 1 + 3 + 20 + 2 + 2


def test_sharing_has_levels():
    """One picture, two questions, four answers to each."""
    picture, questions = list(range(50)), [list(range(60, 80)), list(range(90, 110))]
    sequences = plain([[*picture, *q, 200 + i] for q in questions for i in range(4)])
    assert place([grow(sequences, [None] * 8)]) == 50 + 2 * 20 + 8


def test_a_few_tokens_in_common_are_not_cut_off():
    sequences = plain([[1, 2, 3, 100 + i, 5, 6] for i in range(4)])
    tree = grow(sequences, [None] * 4)
    assert len(tree.stretches) == 4


def test_a_known_context_is_not_computed():
    sequences = [Keyed(np.arange(20), np.array([100 + i])) for i in range(3)]
    known = Stretch(None, 0, 20, -1)
    tree = grow(sequences, [known, known, None])
    assert place([tree]) == 1 + 1 + 21
    assert tree.ends[0].parent is known
    assert tree.ends[2].parent is None
