"""The model's threads when the model fails: who is at fault fails alone, what hangs is seen, a loss is said."""

import threading
import time

import pytest

from service.batching.account import Account
from service.batching.runner import Runner
from service.core import Example, Item, Slice, StagedStep, Turn, Work
from service.errors import DeviceLost, GoldenMismatch, OutOfMemory
from service.metrics import Metrics
from tests.batching.running import Running, expected
from tests.models import WAIT_S, StandIn


def count(step) -> int:
    return sum(map(len, step.data))


def fits_only(model: StandIn, responses: int) -> None:
    score = model.score

    def limited(staged):
        if count(staged) > responses:
            raise OutOfMemory("tried to allocate 2 GiB")
        return score(staged)

    model.score = limited


def test_a_step_too_large_for_the_device_is_run_in_halves_and_later_ones_are_smaller(
    running, caplog
):
    one = running(max_tokens=1000)
    fits_only(one.model, 4)
    names = [f"{i:02d}" * 20 for i in range(16)]
    assert one.submit(*names).outcomes() == expected(*names)
    assert [len(step) for step in one.model.steps] == [4, 4, 4, 4]
    tokens = sum(
        one.model.encode([Item((Turn("user", ("Which?",)),), tuple(names))], {})[0].lengths
    )
    assert one.planner.budget_tokens == max(256, tokens // 4)
    assert one.sample("cuda_oom_total") == 3  # all of them, and both halves
    assert one.sample('failed_steps_total{kind="out_of_memory"}') == 3
    said = [r for r in caplog.records if hasattr(r, "step_token_budget")]
    assert "out of device memory" in said[0].message
    assert said[-1].step_token_budget == one.planner.budget_tokens
    assert one.runner.failed_in_a_row == 0


def test_a_single_response_is_tried_once_more(running):
    """A device that was full may not be any more."""
    one = running()
    score, tried = one.model.score, []

    def full_once(staged):
        tried.append(staged)
        if len(tried) == 1:
            raise OutOfMemory("tried to allocate 2 GiB")
        return score(staged)

    one.model.score = full_once
    assert one.submit("a").outcomes() == expected("a")


def test_parts_of_a_failed_step_count_as_steps(running):
    one = running(max_tokens=10_000)
    one.model.broken = {"bad"}
    one.submit("a", "b", "c", "bad").outcomes()
    assert one.sample("batches_total") == 2  # a and b; c
    assert one.sample("batch_size_sum") == 3
    assert one.sample("last_success_timestamp_seconds") > 0


def test_one_traceback_stands_in_the_log_however_many_parts_fail(running, caplog):
    one = running(max_tokens=10_000)
    one.model.broken = {"bad"}
    one.submit(*"abcdefg", "bad").outcomes()
    errors = [r.exception for r in caplog.records if hasattr(r, "exception")]
    assert len(errors) == 4  # of 8, 4, 2 and the one
    assert ["Traceback" in text for text in errors] == [True, False, False, False]


def test_one_response_that_does_not_fit_fails_alone_and_costs_nobody_the_budget(running):
    one = running(max_tokens=1000)
    fits_only(one.model, 0)
    assert one.submit("a").outcomes() == ["model_failure"]
    assert one.planner.budget_tokens == 1000


def test_a_poisoned_step_is_bisected(running):
    one = running(max_tokens=10_000)
    one.model.broken = {"bad"}
    names = [f"{i}" for i in range(31)]
    caller = one.submit(*names, "bad", *names)
    assert caller.outcomes() == [*expected(*names), "model_failure", *expected(*names)]
    assert len(one.model.staged) < 15
    assert one.runner.failed_in_a_row == 0  # something of it was scored


def test_steps_that_give_nothing_are_counted_until_one_does(running):
    one = running()
    one.model.broken = {"bad"}
    one.model.answers = {"nan": float("nan")}
    for n, bad in enumerate(("bad", "nan", "bad"), 1):
        one.submit(bad).outcomes()
        assert one.runner.failed_in_a_row == n
    one.submit("good").outcomes()
    assert one.runner.failed_in_a_row == 0


def test_a_lost_device_is_said_and_everybody_is_told_to_come_again(running):
    one = running(max_tokens=10)
    first = one.occupy()
    waiting = [one.submit(f"{i}" * 20) for i in range(3)]

    def lost(staged):
        raise DeviceLost("CUDA error: an illegal memory access was encountered")

    one.model.score = lost
    one.model.release()
    assert first.outcomes() == expected("first")  # it was in the model before
    assert [caller.outcomes() for caller in waiting] == [["not_ready"]] * 3
    assert one.lost.wait(WAIT_S)
    assert one.sample('failed_steps_total{kind="device_lost"}') >= 1


def test_an_errand_is_run_between_two_steps_by_the_models_thread(running):
    one = running()
    first = one.occupy()
    threads = []

    def check(_beat) -> float:
        threads.append(threading.current_thread().name)
        return 0.25

    done = one.runner.between_steps(check)
    assert not done.done()
    one.model.release()
    assert done.result(WAIT_S) == 0.25
    assert threads == ["model"]
    assert first.outcomes() == expected("first")


@pytest.mark.parametrize(
    "error", [GoldenMismatch("golden[0]", 3.0), RuntimeError("no"), DeviceLost("gone")]
)
def test_an_errand_that_fails_tells_who_sent_it_and_only_what_is_for_good_everybody(running, error):
    one = running()

    def check(_beat) -> float:
        raise error

    assert one.runner.between_steps(check).exception(WAIT_S) is error
    gone = isinstance(error, DeviceLost | GoldenMismatch)
    assert one.submit("a").outcomes() == (["not_ready"] if gone else expected("a"))
    assert one.model.steps == ([] if gone else [["a"]])
    assert one.lost.is_set() == isinstance(error, DeviceLost)


class Watched(Running):
    """With a clock that the test sets."""

    def __init__(self) -> None:
        super().__init__(StandIn())
        self.now = 100.0
        self.runner = Runner(self.model, self.planner, Metrics(), clock=self.clock)
        self.runner.start()

    def clock(self) -> float:
        return self.now

    def end(self) -> None:
        self.model.release()
        self.runner.abandon()
        assert self.runner.join(WAIT_S)


@pytest.fixture
def watched():
    one = Watched()
    yield one
    one.end()


def until(condition) -> None:
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_idle_is_alive_however_long(watched):
    watched.now += 10_000
    assert watched.runner.alive(5.0)
    watched.submit("a").outcomes()
    watched.now += 10_000
    assert watched.runner.alive(5.0)


def test_work_that_comes_after_a_long_rest_has_its_own_time(watched):
    watched.now += 10_000
    watched.occupy()
    assert watched.runner.alive(5.0)
    watched.now += 6.0
    assert not watched.runner.alive(5.0)
    watched.model.release()
    until(lambda: watched.runner.alive(5.0))


def test_staging_that_hangs_is_seen_too(watched):
    gate, stage = threading.Event(), watched.model.stage
    staging = threading.Event()

    def hangs(step):
        staging.set()
        assert gate.wait(WAIT_S)
        return stage(step)

    watched.model.stage = hangs
    caller = watched.submit("a")
    assert staging.wait(WAIT_S)
    watched.now += 6.0
    assert not watched.runner.alive(5.0)
    gate.set()
    assert caller.outcomes() == expected("a")
    until(lambda: watched.runner.alive(5.0))


def test_an_errand_that_hangs_is_seen_too(watched):
    gate, begun = threading.Event(), threading.Event()

    def check(_beat) -> float:
        begun.set()
        assert gate.wait(WAIT_S)
        return 0.0

    watched.runner.between_steps(check)
    assert begun.wait(WAIT_S)
    watched.now += 6.0
    assert not watched.runner.alive(5.0)
    gate.set()
    until(lambda: watched.runner.alive(5.0))


def test_an_errand_that_gets_on_is_none(watched):
    gates, steps = [threading.Event() for _ in range(2)], threading.Semaphore(0)

    def check(beat) -> float:
        for gate in gates:
            steps.release()
            assert gate.wait(WAIT_S)
            beat()
        return 0.0

    done = watched.runner.between_steps(check)
    for gate in gates:
        assert steps.acquire(timeout=WAIT_S)
        watched.now += 4.0
        assert watched.runner.alive(5.0)
        gate.set()
    assert done.result(WAIT_S) == 0.0


def test_parts_of_a_failed_step_are_progress(watched):
    """Many halves may take longer than one step may."""
    score = watched.model.score

    def slow(staged):
        watched.now += 4.0
        assert watched.runner.alive(5.0)
        if count(staged) > 1:
            raise RuntimeError("together they fail")
        return score(staged)

    watched.model.score = slow
    assert watched.submit("a", "b", "c", "d").outcomes() == expected("a", "b", "c", "d")


def test_whoever_is_in_a_step_can_be_told_before_it_ends_and_is_told_once(running):
    one = running(max_tokens=4)
    first = one.occupy()
    staged = one.submit("staged")
    until(lambda: len(one.model.staged) == 2)
    assert one.runner.forsake() == 2
    assert (first.outcomes(), staged.outcomes()) == (["draining"], ["draining"])
    assert one.runner.forsake() == 0
    one.model.release()  # what it gives now is nobody's; `settle` would object
    assert one.submit("later").outcomes() == expected("later")


def test_who_has_hung_up_is_no_loss(running):
    one = running(max_tokens=10_000)
    first = one.occupy()
    staged = [one.submit("kept"), one.submit("gone", "gone too")]
    until(lambda: len(one.model.staged) == 2)
    first.wanted = staged[1].wanted = False
    assert one.runner.forsake() == 1
    assert staged[0].outcomes() == ["draining"]
    one.model.release()


def test_the_bill_is_shared_out_by_tokens(running):
    one = running()
    score = one.model.score

    def takes_a_while(staged):
        time.sleep(0.02)
        return score(staged)

    one.model.score = takes_a_while
    one.submit("a", "b").outcomes()
    seconds = one.sample('gpu_seconds_total{tenant="default"}')
    assert seconds == pytest.approx(one.sample("forward_seconds_sum"))
    assert seconds >= 0.02


def test_who_needs_more_tokens_pays_more():
    one = Running(StandIn())
    example = Example((100, 100), 0, None, prefix_tokens=80)
    step = (Slice(example, (0, 1), "a"), Slice(Example((60,), 0, None), (0,), "b"))

    payload = StagedStep(Work(180, 0, 0), (80, 0), None)
    Account(one.planner, one.metrics).succeeded(step, payload, 9.0)
    assert one.sample('gpu_seconds_total{tenant="a"}') == pytest.approx(6.0)  # 120 of 180 computed
    assert one.sample('gpu_seconds_total{tenant="b"}') == pytest.approx(3.0)
