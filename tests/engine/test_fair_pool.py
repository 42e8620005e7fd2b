"""The pool: tenants take turns, then their requests; one thread more than a tenant can have; memory is bounded."""

import threading
from concurrent.futures import wait

import pytest

from service.engine.fair_pool import FairPool, Flow
from tests.models import WAIT_S


@pytest.fixture
def gate():
    event = threading.Event()
    yield event
    event.set()


@pytest.fixture
def pool():
    one = FairPool(1, "test", max_bytes=1000)
    yield one
    one.close()


def started(pool, gate, flow, num_bytes=0):
    """Something that keeps a thread until the gate opens."""
    begun = threading.Event()
    future = pool.submit(flow, lambda: begun.set() or gate.wait(WAIT_S), num_bytes)
    assert begun.wait(WAIT_S)
    return future


def test_results_and_errors_come_back(pool):
    assert pool.submit(Flow("a", 1), lambda: 7).result(WAIT_S) == 7
    with pytest.raises(ZeroDivisionError):
        pool.submit(Flow("a", 1), lambda: 1 // 0).result(WAIT_S)


def test_another_tenant_finds_a_thread(pool, gate):
    held = started(pool, gate, Flow("a", 1))
    more = pool.submit(Flow("a", 2), lambda: "a")
    assert pool.submit(Flow("b", 1), lambda: "b").result(WAIT_S) == "b"
    assert not more.done()
    gate.set()
    assert more.result(WAIT_S) == "a"
    assert held.result(WAIT_S)


def test_tenants_take_turns_then_their_requests(pool, gate):
    order = []
    held = [started(pool, gate, Flow(name, 0)) for name in ("x", "y")]
    futures = [
        pool.submit(Flow(tenant, request), lambda t=tenant, r=request: order.append((t, r)))
        for tenant, request in [("a", 1)] * 4 + [("a", 2)] * 2 + [("b", 1)] * 2
    ]
    gate.set()
    wait([*held, *futures], WAIT_S)
    assert order.index(("b", 1)) <= 2
    of_a = [request for tenant, request in order if tenant == "a"]
    assert of_a == [1, 2, 1, 2, 1, 1]


def test_the_cancelled_are_not_run(pool, gate):
    held, ran = started(pool, gate, Flow("a", 1)), []
    gone = pool.submit(Flow("a", 2), lambda: ran.append(1))
    assert gone.cancel()
    gate.set()
    held.result(WAIT_S)
    pool.submit(Flow("a", 2), lambda: None).result(WAIT_S)
    assert ran == []


def test_large_tasks_wait_for_memory_and_small_ones_pass(pool, gate):
    held = started(pool, gate, Flow("a", 1), 600)
    large = pool.submit(Flow("b", 1), lambda: "large", 600)
    assert pool.submit(Flow("c", 1), lambda: "small", 10).result(WAIT_S) == "small"
    assert not large.done()
    gate.set()
    assert large.result(WAIT_S) == "large"
    assert held.result(WAIT_S)


def test_one_larger_than_all_memory_runs_alone(pool):
    assert pool.submit(Flow("a", 1), lambda: "huge", 5000).result(WAIT_S) == "huge"


def test_what_waits_when_it_closes_is_cancelled(pool, gate):
    held = started(pool, gate, Flow("a", 1))
    waiting = pool.submit(Flow("a", 1), lambda: None)
    pool.close()
    assert waiting.cancelled()
    assert pool.submit(Flow("a", 1), lambda: None).cancelled()
    gate.set()
    held.result(WAIT_S)
