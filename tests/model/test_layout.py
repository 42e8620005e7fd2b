"""The tree of shared stretches: complete, without repetition worth saving, and split only between tokens."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from service.model.layout import MIN_SHARED_TOKENS, Stretch, grow, place

tokens = st.lists(st.integers(0, 2), min_size=1, max_size=12)


@st.composite
def families(draw):
    """Sequences that grow out of each other, with equal ones and prefixes of others among them."""
    stems = draw(st.lists(st.lists(st.integers(0, 2), max_size=30), min_size=1, max_size=4))
    sequences = [
        draw(st.sampled_from(stems)) + draw(tokens) for _ in range(draw(st.integers(1, 9)))
    ]
    whole = sequences + draw(st.lists(st.sampled_from(sequences), max_size=3))
    cut = [
        s[: draw(st.integers(1, len(s)))]
        for s in draw(st.lists(st.sampled_from(whole), max_size=2))
    ]
    return [np.array(s, dtype=np.int64) for s in whole + cut]


def spelled(stretch, sequences):
    return np.concatenate([sequences[s.owner][s.start : s.stop] for s in stretch.path()]).tolist()


@given(families())
def test_every_sequence_can_be_read_along_its_path(sequences):
    tree = grow(sequences, [None] * len(sequences))
    for i, sequence in enumerate(sequences):
        assert spelled(tree.ends[i], sequences) == sequence.tolist()


@given(families())
def test_equal_sequences_end_together_and_others_apart(sequences):
    tree = grow(sequences, [None] * len(sequences))
    distinct = {tuple(s.tolist()) for s in sequences}
    assert len({id(tree.ends[i]) for i in range(len(sequences))}) == len(distinct)
    for i, a in enumerate(sequences):
        for j, b in enumerate(sequences):
            assert (tree.ends[i] is tree.ends[j]) == (a.tolist() == b.tolist())


@given(families())
def test_no_two_stretches_of_one_parent_share_what_is_worth_sharing(sequences):
    tree = grow(sequences, [None] * len(sequences))
    by_parent: dict[int, list[list[int]]] = {}
    for s in tree.stretches:
        own = sequences[s.owner][s.start : s.stop].tolist()
        by_parent.setdefault(id(s.parent), []).append(own[:MIN_SHARED_TOKENS])
    for starts in by_parent.values():
        long = [tuple(s) for s in starts if len(s) == MIN_SHARED_TOKENS]
        assert len(long) == len(set(long))


@given(families())
def test_parents_stand_before_their_children_and_rows_have_no_gaps(sequences):
    tree = grow(sequences, [None] * len(sequences))
    length = place([tree])
    assert length <= sum(map(len, sequences))
    rows = sorted((s.row, s.row + s.length) for s in tree.stretches)
    assert [start for start, _ in rows] == [0, *(stop for _, stop in rows[:-1])]
    assert rows[-1][1] == length
    for s in tree.stretches:
        assert s.length > 0
        assert s.parent is None or s.parent.row + s.parent.length <= s.row


def test_a_group_computes_its_context_once():
    context = list(range(100))
    sequences = [np.array([*context, 200 + i, 300 + i]) for i in range(16)]
    assert place([grow(sequences, [None] * 16)]) == 100 + 16 * 2


def test_sharing_has_levels():
    """One picture, two questions, four answers to each."""
    picture, questions = list(range(50)), [list(range(60, 80)), list(range(90, 110))]
    sequences = [np.array([*picture, *q, 200 + i]) for q in questions for i in range(4)]
    assert place([grow(sequences, [None] * 8)]) == 50 + 2 * 20 + 8


def test_a_few_tokens_in_common_are_not_cut_off():
    sequences = [np.array([1, 2, 3, 100 + i, 5, 6]) for i in range(4)]
    tree = grow(sequences, [None] * 4)
    assert len(tree.stretches) == 4


def test_a_known_context_is_not_computed():
    sequences = [np.array([*range(20), 100 + i]) for i in range(3)]
    known = Stretch(None, 0, 20, -1)
    tree = grow(sequences, [known, known, None])
    assert place([tree]) == 1 + 1 + 21
    assert tree.ends[0].parent is known
    assert tree.ends[2].parent is None
