"""The line: order, cancellation, expiry, closing, and its counts."""

from dataclasses import dataclass, field

import pytest

from service.batching.planner import Job, Planner
from service.batching.policy import BatchLimits
from service.core import Example
from service.errors import Busy


@dataclass(eq=False)
class Caller:
    deadline: float = 1000.0
    wanted: bool = True
    told: dict = field(default_factory=dict)

    def started(self, now):
        pass

    def settle(self, item, outcomes, now):
        self.told |= {(item, response): outcome for response, outcome in outcomes}


def job(caller, *lengths, item=0, queued_at=0.0):
    example = Example(lengths=lengths, image_tokens=0, data=None)
    return Job(caller, item, example, queued_at, list(range(len(lengths))))


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
    assert (line.queued_responses, line.queued_tokens) == (3, 120)
    line.take(0.0)
    assert (line.queued_responses, line.queued_tokens) == (1, 40)
    line.cancel(caller)
    assert (line.queued_responses, line.queued_tokens) == (0, 0)


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
