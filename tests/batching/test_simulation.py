"""What a waiting caller may count on, shown on the shipped planner in a simulated server."""

import itertools
import math
import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.batching.policy import LIGHT, BatchLimits
from service.batching.ticket import Share
from service.errors import ServiceError
from tests.batching.simulation import STEP_S, TOKEN_S, Server
from tests.batching.waiting import Caller, job

LIMITS = BatchLimits(max_tokens=1000, max_responses=16, max_passed=8)

items = st.tuples(
    st.sampled_from([b"", b"a", b"b", b"c"]),
    st.lists(st.integers(1, 400), min_size=1, max_size=12),
)
requests = st.tuples(
    st.floats(0.0, 2.0),  # arrives at
    st.floats(0.01, 5.0),  # and gives up after
    st.sampled_from([Share("x"), Share("x", "run"), Share("y", weight=3.0)]),
    st.lists(items, min_size=1, max_size=4),
)


def arrival(at, patience, share, contents):
    """Equal keys are equal contexts: of 0, 50 or 300 tokens here."""
    caller = Caller(at + patience, share=share)
    prefix = {b"": 0, b"a": 0, b"b": 50, b"c": 300}
    jobs = [
        job(
            caller,
            *(prefix[key] + n for n in own),
            item=i,
            queued_at=at,
            prefix=prefix[key],
            key=key,
        )
        for i, (key, own) in enumerate(contents)
    ]
    return caller, (at, jobs)


@settings(deadline=None)
@given(traffic=st.lists(requests, max_size=30))
def test_everyone_is_answered_once_and_right_within_the_limits(traffic):
    served = [arrival(*request) for request in traffic]
    server = Server(LIMITS, noise=0.1)
    contents = {
        caller: {(j.item, r): n for j in jobs for r, n in enumerate(j.example.lengths)}
        for caller, (_, jobs) in served
    }
    server.serve([entry for _, entry in served])
    for caller, lengths in contents.items():
        assert caller.told.keys() == lengths.keys()
        for place, outcome in caller.told.items():
            late = isinstance(outcome, ServiceError) and outcome.code == "deadline_exceeded"
            assert late or outcome == lengths[place]
    for ran in server.steps:
        responses = len(ran.planned.lengths)
        assert responses <= LIMITS.max_responses
        context = ran.planned.step[0].example.prefix_tokens
        most = max(LIMITS.max_tokens, context + LIMITS.max_tokens // 2)
        assert ran.work.tokens <= most or responses == 1
        tenants = {
            (part.tenant, j.ticket.share.tenant)
            for part, j in zip(ran.planned.step, ran.planned.jobs, strict=True)
        }
        assert all(slices == callers for slices, callers in tenants)
    assert server.planner.queued_responses == 0
    work = server.planner.queued_work
    assert (work.tokens, work.pairs, work.patches) == (0, 0, 0)


def burst(caller, count, tokens=200, at=0.0):
    return at, [job(caller, tokens, item=i, queued_at=at) for i in range(count)]


def test_a_burst_of_one_tenant_delays_anothers_small_requests_by_the_step_that_runs():
    server, three_s = Server(BatchLimits(16_384, 512)), STEP_S + 3 * 200 * TOKEN_S
    busy, small = Caller(share=Share("busy")), [Caller(share=Share("small")) for _ in range(40)]
    arrivals = [burst(caller, 1, at=3.0 + 0.71 * i) for i, caller in enumerate(small)]
    end = server.serve([burst(busy, 10_000), *arrivals])
    longest = max(ran.end - ran.begin for ran in server.steps)
    waits = [caller.ended - at for caller, (at, _) in zip(small, arrivals, strict=True)]
    assert max(waits) <= longest + three_s  # so many come in the time of one step
    assert len(busy.told) == 10_000
    assert end <= 1.02 * (10_000 * 200 * TOKEN_S + len(server.steps) * STEP_S)


def test_small_requests_without_end_leave_others_nearly_all():
    """They go first, and never twice: whoever has more to do has its turn between."""
    server = Server(BatchLimits(4000, 512))
    busy = Caller(share=Share("busy"))
    small = [
        burst(Caller(share=Share("small")), 1, tokens=20, at=1.0 + i * 0.05) for i in range(400)
    ]
    server.serve([burst(busy, 800), *small])
    alone_s = 800 * 200 * TOKEN_S + 40 * STEP_S
    assert busy.ended <= (1 + LIGHT) * alone_s
    light = [ran.planned.light for ran in server.steps if ran.end < busy.ended]
    assert light.count(True) > 30
    assert (True, True) not in set(itertools.pairwise(light))


def test_a_small_request_passes_the_burst_of_its_own_tenant():
    server = Server(BatchLimits(16_384, 512))
    busy, small = Caller(), Caller()
    server.serve([burst(busy, 10_000), burst(small, 1, at=3.0)])
    longest = max(ran.end - ran.begin for ran in server.steps)
    assert small.ended - 3.0 <= 2 * longest


def test_a_large_request_is_not_passed_for_ever():
    """Small ones come faster than the model can score them, and would be before it for ever."""
    server = Server(BatchLimits(1000, 64))
    large, small = Caller(), [Caller() for _ in range(2000)]
    trickle = [burst(c, 1, tokens=500, at=0.5 + i * 0.04) for i, c in enumerate(small)]
    server.serve([burst(Caller(), 4), burst(large, 40, at=0.4), *trickle])
    alone = 40 * 200 * 1.1e-4
    assert large.ended <= 0.4 + 7 * alone
    assert large.ended < small[-1].ended


def test_requests_of_one_time_are_finished_one_after_the_other():
    """Of ten equal ones the first should be done after a tenth of the time, not all at the end."""
    server = Server(BatchLimits(1000, 64))
    callers = [Caller() for _ in range(10)]
    server.serve([burst(caller, 50) for caller in callers])
    total = server.steps[-1].end
    assert sum(c.ended for c in callers) / 10 < 0.62 * total


@pytest.mark.parametrize(("a", "b"), [(1.0, 3.0), (1.0, 1.0), (0.5, 0.1)])
@pytest.mark.parametrize("sizes", [(200, 200), (30, 700)])
def test_tokens_follow_the_weights_while_both_wait(a, b, sizes):
    server = Server(BatchLimits(4000, 512))
    shares = Share("a", weight=a), Share("b", weight=b)
    counts = [2_000_000 // 10 // size for size in sizes]
    server.serve(
        [burst(Caller(share=s), n, z) for s, n, z in zip(shares, counts, sizes, strict=True)]
    )
    done = Counter()
    for ran in server.steps:
        for part in ran.planned.step:
            done[part.tenant] += sum(part.lengths)
        if max(done.values()) > 150_000:  # both still wait
            break
    assert done["a"] / done["b"] == pytest.approx(a / b, rel=0.1)


def test_who_comes_late_shares_from_then_on_and_is_owed_nothing():
    server = Server(BatchLimits(4000, 512))
    late = Caller(share=Share("late"))
    server.serve([burst(Caller(share=Share("early")), 4000), burst(late, 1000, at=20.0)])
    both = [ran for ran in server.steps if ran.begin >= 20.0 and ran.end <= late.ended]
    done = Counter(part.tenant for ran in both for part in ran.planned.step)
    assert done["early"] / done["late"] == pytest.approx(1.0, rel=0.1)


def test_more_labels_bring_no_more_of_the_device():
    server = Server(BatchLimits(4000, 512))
    many = [burst(Caller(share=Share("a", f"run {i}")), 20) for i in range(100)]
    server.serve([*many, burst(Caller(share=Share("b")), 2000)])
    done = Counter(part.tenant for ran in server.steps[:40] for part in ran.planned.step)
    assert done["a"] / done["b"] == pytest.approx(1.0, rel=0.1)


def test_siblings_from_different_callers_share_a_step():
    server = Server(BatchLimits(4000, 512))
    rng = random.Random(0)
    arrivals = [
        (0.0, [job(Caller(), 1100, prefix=1000, key=b"%d" % group, queued_at=0.0)])
        for group in range(20)
        for _ in range(8)
    ]
    rng.shuffle(arrivals)
    server.planner.submit([job(Caller(), 100)])
    server.serve(arrivals)
    steps_of = Counter()
    for ran in server.steps:
        steps_of.update({part.example.prefix_key for part in ran.planned.step} - {b""})
    assert set(steps_of.values()) == {1}


def test_nothing_is_shared_across_tenants():
    server = Server(BatchLimits(1500, 512))
    callers = [Caller(share=Share(tenant)) for tenant in ("a", "b")]
    server.serve([(0.0, [job(c, 1100, 1100, prefix=1000, key=b"same")]) for c in callers])
    assert [ran.work.tokens for ran in server.steps] == [1200, 1200]


@settings(deadline=None, max_examples=30)
@given(
    seed=st.integers(0, 2**32), pictures=st.floats(0.0, 1.0), group=st.sampled_from([1, 4, 8, 16])
)
def test_steps_are_few(seed, pictures, group):
    """Within a quarter of what the tokens need: groups are not cut, but the room is filled."""
    rng = random.Random(seed)
    limits = BatchLimits(16_384, 512)
    server, need = Server(limits), 0
    arrivals = []
    for i in range(300):
        prefix = rng.choice([256, 1100]) if rng.random() < pictures else rng.randrange(20, 120)
        own = [min(1024, int(rng.lognormvariate(4.6, 0.7)) + 1) for _ in range(group)]
        need += prefix + sum(own)
        entry = job(Caller(), *(prefix + n for n in own), prefix=prefix, key=b"%d" % i)
        arrivals.append((0.0, [entry]))
    server.serve(arrivals)
    assert len(server.steps) <= 1.25 * math.ceil(need / limits.max_tokens)
