"""How attention is cut on a CPU: what is seen together, what in pieces, what by all siblings at once."""

from service.model import blocks
from service.model.attention import Segments
from service.model.blocks import Block, in_parts, in_pieces, own_blocks, shared_blocks


def test_few_tokens_are_seen_beside_others_and_many_by_themselves():
    few, many, more, own = (0, 14), (14, 1114), (1114, 1120), (1120, 1125)
    assert in_parts((few, many, more, own)) == [(few, many), (more, own)]
    assert in_parts(((0, 30), (30, 60), (60, 64), own)) == [((0, 30), (30, 60), (60, 64), own)]
    assert in_parts(((0, 30), (30, 60), (60, 65), own)) == [((0, 30), (30, 60), (60, 65)), (own,)]


def test_a_long_stretch_is_cut_into_pieces_that_see_each_other():
    context, here = (0, 10), (10, 1610)
    cut = in_pieces(Segments((context, here), ((context,), (context, here))))
    assert cut.queries == (context, (10, 544), (544, 1078), (1078, 1610))
    assert cut.paths[3] == (context, (10, 1078), (1078, 1610))
    assert cut.pairs() == Segments((context, here), ((context,), (context, here))).pairs()


def test_no_call_has_more_rows_than_are_worth_a_mask():
    context, here, last = (0, 10), (10, 40), (40, 41)
    segments = Segments((context, here, last), ((context,), (context, here), (context, last)))
    assert own_blocks(segments, 12) == [
        Block(context, (context,), causal=True),
        Block((10, 22), (context, (10, 22)), causal=True),
        Block((22, 34), (context, (10, 34)), causal=True),
        Block((34, 40), (context, here), causal=True),
        Block(last, (context, last), causal=True),
    ]


def test_siblings_see_what_they_share_in_one_call(monkeypatch):
    monkeypatch.setattr(blocks, "_FEW", 2)
    context, shared = (0, 9), (9, 12)
    segments = Segments(
        (context, shared, (12, 14), (14, 15), (15, 20), (20, 22)),
        (
            (context,),
            (context, shared),
            (context, shared, (12, 14)),
            (context, shared, (14, 15)),
            (context, (15, 20)),
            ((20, 22),),
        ),
    )
    assert [*shared_blocks(segments, 0), *shared_blocks(segments, 1)] == [
        Block((9, 20), (context,), causal=False),
        Block((12, 15), (shared,), causal=False),
    ]
