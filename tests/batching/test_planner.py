"""The line: order, cancellation, expiry, closing, and its counts."""

import threading

import pytest

from service.batching.planner import Planner
from service.batching.policy import BatchLimits
from service.batching.staged import Staged
from service.batching.ticket import Share
from service.core import Work
from service.errors import Busy
from tests.batching.waiting import Caller, job
from tests.models import WAIT_S


def planner(max_tokens=100):
    return Planner(BatchLimits(max_tokens, 64))


def test_first_come_first_served_across_callers():
    line, callers = planner(), [Caller() for _ in range(3)]
    line.submit([job(c, 40) for c in callers])
    first = line.take(0.0)
    assert [j.ticket for j in first.jobs] == callers[:2]
    assert [j.ticket for j in line.take(0.0).jobs] == callers[2:]
    assert line.take(0.0) is None


def test_a_group_is_scored_in_parts_and_in_order():
    line, caller = planner(), Caller()
    line.submit([job(caller, 40, 40, 40, 40, 40)])
    parts = []
    while planned := line.take(0.0):
        parts += [part.responses for part in planned.step]
    assert parts == [(0, 1), (2, 3), (4,)]


def test_counts_follow_the_line():
    line, caller = planner(), Caller()
    line.submit([job(caller, 40, 40, 40)])
    assert (line.queued_responses, line.queued_work.tokens) == (3, 120)
    line.take(0.0)
    assert (line.queued_responses, line.queued_work.tokens) == (1, 40)
    line.cancel(caller)
    assert (line.queued_responses, line.queued_work.tokens) == (0, 0)


def test_the_cancelled_never_reach_a_step():
    line, gone, stays = planner(), Caller(), Caller()
    line.submit([job(gone, 40), job(stays, 40), job(gone, 40)])
    line.cancel(gone)
    assert [j.ticket for j in line.take(0.0).jobs] == [stays]
    assert gone.told == {}


def test_the_expired_are_told_and_never_reach_a_step():
    line, late, patient = planner(), Caller(deadline=5.0), Caller()
    line.submit([job(late, 40, 40), job(patient, 40)])
    assert [j.ticket for j in line.take(5.0).jobs] == [patient]
    assert [error.code for error in late.told.values()] == ["deadline_exceeded"] * 2


def test_closing_hands_back_who_waits_and_refuses_more():
    line, caller = planner(), Caller()
    line.submit([job(caller, 40)])
    (left,) = line.close()
    assert left.ticket is caller
    assert line.queued_responses == 0
    assert not line.wait()
    with pytest.raises(Busy) as refused:
        line.submit([job(caller, 40)])
    assert refused.value.code == "draining"


def test_the_age_of_the_oldest():
    line = planner()
    assert line.oldest_age_s(10.0) == 0.0
    line.submit([job(Caller(), 40, queued_at=4.0), job(Caller(), 40, queued_at=9.0)])
    assert line.oldest_age_s(10.0) == 6.0


def test_a_context_counts_once_for_all_who_wait_behind_it():
    line, callers = planner(), [Caller() for _ in range(3)]
    for caller in callers:
        line.submit([job(caller, 40, prefix=30, key=b"same", patches=16)])
    assert line.queued_work.tokens == 30 + 3 * 10
    assert line.queued_work.patches == 16
    line.cancel(callers[0])
    assert line.queued_work.tokens == 30 + 2 * 10
    assert [j.ticket for j in line.take(0.0).jobs] == callers[1:]
    assert line.queued_work == Work(0, 0, 0)


def test_siblings_go_with_the_first_of_them():
    line, first, other, sibling = planner(70), Caller(), Caller(), Caller()
    line.submit([job(first, 40, prefix=30, key=b"same")])
    line.submit([job(other, 40, prefix=30, key=b"other")])
    line.submit([job(sibling, 40, prefix=30, key=b"same")])
    assert [j.ticket for j in line.take(0.0).jobs] == [first, sibling]
    assert [j.ticket for j in line.take(0.0).jobs] == [other]


def test_a_smaller_request_passes_and_a_begun_one_is_finished():
    line, large, small, later = planner(100), Caller(), Caller(), Caller()
    line.learn(Work(100, 0, 0), 1.0)
    line.submit([job(large, *[50] * 10, queued_at=0.0)])
    line.submit([job(small, 50, queued_at=1.0)])
    assert {j.ticket for j in line.take(1.0).jobs} == {small, large}  # and the large one fills it
    line.submit([job(later, *[50] * 9, queued_at=1.0)])
    assert {j.ticket for j in line.take(1.0).jobs} == {large}


def test_everyone_who_leaves_is_forgotten():
    line = planner()
    for n in range(300):
        caller = Caller(deadline=1e9, share=Share("t", f"{n}"))
        line.submit([job(caller, 40, 40, prefix=10, key=b"%d" % n)])
        line.cancel(caller)
    inner = line._line
    assert not inner._requests
    assert not inner._groups
    assert not inner._heaps
    assert not list(inner._shares)
    assert not inner._shares._idle
    assert len(inner._deadlines) < 100


def test_choosing_never_looks_at_the_whole_line():
    """Thousands of siblings stand behind one context, and each of their requests has its own turn."""
    line, placed = Planner(BatchLimits(100, 8, max_passed=4)), []
    line._line._predict_s = lambda work: placed.append(work) or 0.0
    for _ in range(5000):
        line.submit([job(Caller(), 65, prefix=40, key=b"same")])
    placed.clear()
    assert len(line.take(0.0).jobs) == 2  # and there is room for something smaller
    assert len(placed) <= 8 + 4


def test_the_backlog_is_what_the_line_will_take():
    line = planner(100)
    assert line.backlog_s() == 0.0
    for tokens in (100, 50, 100, 20, 80):
        line.learn(Work(tokens, 0, 0), 0.5 + tokens * 0.01)
    line.submit([job(Caller(), *[50] * 40)])
    assert line.backlog_s() == pytest.approx(20 * 0.5 + 2000 * 0.01, rel=0.35)


def test_a_tenants_wait_is_that_of_its_own_work_and_its_share():
    """A backlog of 650 s of another's refused whoever could have been scored in the next batch."""
    line = planner()
    for _ in range(50):
        line.learn(Work(100, 0, 0), 1.0)
    hog, small = Caller(share=Share("hog")), Caller(share=Share("small"))
    line.submit([job(hog, *[50] * 100)])
    whole_s = line.backlog_s()
    assert line.wait_s("hog", 1.0) == pytest.approx(whole_s)
    assert line.wait_s("small", 1.0) == 0.0
    line.submit([job(small, 50, 50)])
    alone_s = line.predict_s(Work(100, 0, 0))
    assert line.wait_s("small", 1.0) == pytest.approx(2 * alone_s)
    assert line.wait_s("hog", 1.0) == pytest.approx(line.backlog_s())
    line.cancel(hog)
    assert line.wait_s("small", 1.0) == pytest.approx(alone_s)
    line.cancel(small)
    assert line.wait_s("small", 1.0) == 0.0
    assert not line._line._tenants


LIGHT_WORK = {"busy": 90, "small": 1}


def busy_and_small():
    """A line in which a step of the one takes 0.095 s, and one of the other 0.006 s."""
    line = planner(100)
    for tokens in (1, 10, 50, 90, 100):
        line.learn(Work(tokens, 0, 0), 0.005 + 0.001 * tokens)
    callers = {tenant: Caller(share=Share(tenant)) for tenant in LIGHT_WORK}
    return line, callers


def test_the_little_of_another_tenant_is_a_step_of_its_own_and_goes_first():
    line, callers = busy_and_small()
    line.submit([job(callers[tenant], tokens) for tenant, tokens in LIGHT_WORK.items()])
    first, second = line.take(0.0), line.take(0.0)
    assert (first.tenants, first.light) == ({"small"}, True)
    assert (second.tenants, second.light) == ({"busy"}, False)
    assert line.take(0.0) is None


def test_after_a_light_step_it_is_the_turn_of_the_others_alone():
    line, callers = busy_and_small()
    line.submit([job(callers[tenant], tokens) for tenant, tokens in LIGHT_WORK.items()])
    assert line.take(0.0).light
    line.submit([job(Caller(share=Share("small")), 1)])
    others = line.take(0.0)
    assert (others.tenants, others.light) == ({"busy"}, False)
    assert line.take(0.0, Staged(others, predicted_s=0.095)).tenants == {"small"}


def test_the_little_of_ones_own_tenant_goes_with_the_rest():
    line, _ = busy_and_small()
    line.submit([job(Caller(share=Share("one", "run")), 1), job(Caller(share=Share("one")), 90)])
    assert not line.take(0.0).light
    assert line.take(0.0) is None


def staged_step(line, *jobs):
    line.submit(jobs)
    planned = line.take(0.0)
    return Staged(planned, predicted_s=0.095)


def test_a_light_step_goes_before_a_staged_one_of_others_once():
    line, callers = busy_and_small()
    ahead = staged_step(line, job(callers["busy"], 90))
    line.submit([job(callers["busy"], 90), job(callers["small"], 1)])
    assert not line.wait_for_room(lambda: ahead)
    before = line.take(0.0, ahead)
    assert (before.tenants, before.light) == ({"small"}, True)
    assert line.take(0.0, ahead) is None
    assert line.queued_responses == 1


def test_what_has_a_part_in_the_staged_step_does_not_go_before_it():
    line, callers = busy_and_small()
    ahead = staged_step(line, job(callers["busy"], 70), job(callers["small"], 30))
    assert ahead.planned.tenants == {"busy", "small"}
    line.submit([job(Caller(share=Share("small")), 1)])
    assert line.take(0.0, ahead) is None
    assert line.queued_responses == 1


def test_whoever_waits_for_room_is_told_when_the_staged_step_runs():
    line, callers = busy_and_small()
    ahead = [staged_step(line, job(callers["busy"], 90))]
    ahead[0].overtaken = True
    line.submit([job(callers["small"], 1)])
    found = []
    waits = threading.Thread(
        target=lambda: found.append(line.wait_for_room(lambda: ahead[0] if ahead else None))
    )
    waits.start()
    waits.join(0.1)
    assert waits.is_alive()
    ahead.clear()
    line.room_made()
    waits.join(WAIT_S)
    assert found == [True]
