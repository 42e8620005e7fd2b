"""The model's threads: one step staged behind the running one, and every caller answered whatever happens."""

import gc
import random
import threading
import time
import weakref

import pytest

from service.batching.runner import Runner
from service.core import Work
from service.metrics import Metrics
from tests.batching.running import Running, expected
from tests.models import WAIT_S, StandIn


def test_an_idle_model_starts_at_once(running):
    one = running()
    assert one.submit("a", "b").outcomes() == expected("a", "b")
    assert one.model.steps == [["a", "b"]]


def test_every_step_teaches_what_steps_take(running):
    one = running()
    one.submit("a").outcomes()
    assert one.planner.predict_s(Work(100, 0, 0)) > 0.0


def test_what_arrives_while_the_model_runs_becomes_one_step(running):
    one = running()
    first = one.occupy()
    staged = one.submit("staged")  # staged behind the running step, alone
    while len(one.model.staged) < 2:
        time.sleep(0.001)
    late = [one.submit(f"late {i}") for i in range(10)]
    one.model.release()
    assert first.outcomes() == expected("first")
    assert staged.outcomes() == expected("staged")
    for i, caller in enumerate(late):
        assert caller.outcomes() == expected(f"late {i}")
    assert one.model.steps == [["first"], ["staged"], [f"late {i}" for i in range(10)]]


def test_exactly_one_step_is_staged_behind_the_running_one(running):
    one = running(max_tokens=3)  # one response a step
    one.occupy()
    callers = [one.submit(f"{i}") for i in range(5)]
    while len(one.model.staged) < 2:
        time.sleep(0.001)
    assert one.planner.queued_responses == 4  # the others may still be joined by siblings
    one.model.release()
    assert [c.outcomes() for c in callers] == [expected(f"{i}") for i in range(5)]
    assert len(one.model.staged) == 6


def test_a_little_of_another_tenant_goes_before_the_step_that_is_staged(running):
    one = running()
    for tokens in (1, 2, 64, 128):
        one.planner.learn(Work(tokens, 0, 0), 1e-4 * tokens)
    first = one.occupy()
    large = one.submit(*(f"large {i}" for i in range(40)))
    while len(one.model.staged) < 2:
        time.sleep(0.001)
    small = one.submit("small", tenant="another")
    while len(one.model.staged) < 3:
        time.sleep(0.001)
    later = one.submit("later", tenant="a third")  # one step is overtaken once
    assert len(one.runner._stager.under_way) == 3
    one.model.release()
    assert first.outcomes() == expected("first")
    assert small.outcomes() == expected("small")
    assert large.outcomes() == expected(*(f"large {i}" for i in range(40)))
    assert later.outcomes() == expected("later")
    assert [step[0] for step in one.model.steps] == ["first", "small", "large 0", "later"]


def test_whoever_goes_before_whom_everyone_is_answered_right(running):
    """Large requests of one tenant, and small ones of two others that come all the time."""
    one, dice = running(max_tokens=300), random.Random(0)
    for tokens in (1, 2, 64, 128):
        one.planner.learn(Work(tokens, 0, 0), 1e-4 * tokens)
    take, score, before, callers = one.planner.take, one.model.score, [], []

    def taken(now, ahead=None):
        planned = take(now, ahead)
        before.extend([planned] if ahead and planned else [])
        return planned

    def slowly(staged):  # as long as was predicted
        time.sleep(1e-4 * staged.work.tokens)
        return score(staged)

    one.planner.take, one.model.score = taken, slowly
    for i in range(300):
        tenant = dice.choice(("large", "small", "smaller"))
        count = dice.randint(20, 40) if tenant == "large" else 1
        texts = [f"{tenant} {i} {n}" for n in range(count)]
        callers.append((one.submit(*texts, tenant=tenant), texts))
        time.sleep(0.0005)
    for caller, texts in callers:
        assert caller.outcomes() == expected(*texts)
    assert before


def test_a_step_stays_open_for_late_siblings_while_another_is_predicted_to_run(running):
    one = running()
    one.planner.learn(Work(1, 0, 0), WAIT_S)  # so it would be closed in many seconds
    first = one.occupy()
    asked = threading.Event()
    ended = one.runner._stager.running.ended
    wait, ended.wait = ended.wait, lambda timeout: asked.set() or wait(timeout)
    early = one.submit("early")
    assert asked.wait(WAIT_S)  # the stager knows of it, and lets it wait
    late = [one.submit(f"late {i}") for i in range(10)]
    assert one.runner.backlog_s() > WAIT_S
    one.model.release()  # sooner than predicted: the stager is woken at once
    assert first.outcomes() == expected("first")
    assert early.outcomes() == expected("early")
    for i, caller in enumerate(late):
        assert caller.outcomes() == expected(f"late {i}")
    assert one.model.steps == [["first"], ["early", *(f"late {i}" for i in range(10))]]


def test_callers_who_left_are_not_scored_even_when_staged(running):
    one = running()
    one.occupy()
    gone = one.submit("gone")
    while len(one.model.staged) < 2:
        time.sleep(0.001)
    gone.wanted = False
    stays = one.submit("stays")
    one.model.release()
    assert stays.outcomes() == expected("stays")
    assert "gone" not in one.model.seen


def test_one_faulty_response_fails_alone(running):
    one = running()
    first = one.occupy()
    one.model.broken = {"bad"}
    caller = one.submit("good", "bad", "fine")
    other = one.submit("other")
    one.model.release()
    assert caller.outcomes() == [*expected("good"), "model_failure", *expected("fine")]
    assert other.outcomes() == expected("other")
    assert first.outcomes() == expected("first")
    assert one.submit("next").outcomes() == expected("next")


def test_a_step_that_cannot_be_staged_is_sorted_out_too(running):
    one = running()
    stage = one.model.stage

    def breaks(step):
        if any("bad" in part.example.data[1] for part in step):
            raise MemoryError
        return stage(step)

    one.model.stage = breaks
    assert one.submit("bad").outcomes() == ["model_failure"]
    assert one.submit("good").outcomes() == expected("good")


@pytest.mark.parametrize("answer", [[], [[1.0]], [[1.0, 2.0, 3.0]], [[None, "x"]], None])
def test_an_answer_of_the_wrong_shape_is_an_error_and_not_the_end(running, answer):
    one = running()
    score = one.model.score
    one.model.score = lambda staged: answer
    # By itself a response may be answered with one number; two or none are nobody's reward.
    told = [1.0, 1.0] if answer == [[1.0]] else ["model_failure"] * 2
    assert one.submit("a", "b").outcomes() == told
    one.model.score = score
    assert one.submit("good").outcomes() == expected("good")
    assert one.runner.alive(WAIT_S)


def test_the_retry_does_not_hold_what_the_failed_step_held(running):
    """On a device that ran out of memory, the failed step's tensors must be gone by then."""
    one = running()
    alive = []

    class Activations:
        pass

    def score(staged):
        held = Activations()
        alive.append(weakref.ref(held))
        if len(staged.data[0]) > 1:
            raise MemoryError(held)
        gc.collect()
        alive.append(alive[0]() is not None)
        return [[0.5]]

    one.model.score = score
    assert one.submit("a", "b").outcomes() == [0.5, 0.5]
    assert [flag for flag in alive if isinstance(flag, bool)] == [False, False]


def test_the_log_has_what_failed_a_step_even_if_all_of_it_could_be_scored_after(running, caplog):
    one = running()
    score = one.model.score

    def together_breaks(staged):
        if len(staged.data[0]) > 1:
            raise RuntimeError("shapes differ")
        return score(staged)

    one.model.score = together_breaks
    assert one.submit("a", "b").outcomes() == expected("a", "b")
    (line,) = [record for record in caplog.records if "halves" in record.message]
    assert line.exception.endswith("RuntimeError: shapes differ\n")
    assert "together_breaks" in line.exception


def test_a_reward_that_is_no_number_is_an_error(running):
    one = running()
    one.model.answers = {"nan": float("nan"), "inf": float("inf")}
    outcomes = one.submit("nan", "ok", "inf").outcomes()
    assert outcomes == ["non_finite_reward", *expected("ok"), "non_finite_reward"]


def test_abandoning_answers_everyone_in_line_and_finishes_what_runs(running):
    one = running(max_tokens=4)
    first = one.occupy()
    staged = one.submit("staged")
    while len(one.model.staged) < 2:
        time.sleep(0.001)
    waiting = [one.submit(f"{i}") for i in range(3)]
    one.runner.abandon()
    assert [caller.outcomes() for caller in waiting] == [["draining"]] * 3
    one.model.release()
    assert first.outcomes() == expected("first")
    assert staged.outcomes() == expected("staged")


def test_a_hanging_step_and_a_dead_thread_are_noticed():
    now = [100.0]
    one = Running(StandIn())
    one.runner = Runner(one.model, one.planner, Metrics(), clock=lambda: now[0])
    assert not one.runner.alive(5.0)  # not started
    one.runner.start()
    assert one.runner.alive(5.0)
    one.occupy()
    now[0] += 4.0
    assert one.runner.alive(5.0)
    now[0] += 2.0
    assert not one.runner.alive(5.0)
    one.model.release()
    one.runner.abandon()
    one.runner.join(WAIT_S)
    assert not one.runner.alive(5.0)


def test_the_batching_wait_lets_others_join(running):
    one = running(wait_s=0.5, max_tokens=30)
    callers = [one.submit(f"response {i:02d}") for i in range(10)]
    assert [c.outcomes() for c in callers] == [expected(f"response {i:02d}") for i in range(10)]
    assert len(one.model.steps[0]) > 1  # without the wait it would be the first alone


def test_an_idle_model_waits_for_siblings_that_are_being_prepared(running):
    one = running()
    one.planner.learn(Work(10, 0, 0), 1000.0)  # a step takes long: a tenth of it is worth waiting
    with one.planner.expecting():
        early = one.submit("early")
        assert not one.model.entered.acquire(timeout=0.05)
        late = one.submit("late")
    assert (early.outcomes(), late.outcomes()) == (expected("early"), expected("late"))
    assert one.model.steps == [["early", "late"]]


def test_an_idle_model_does_not_wait_for_ever(running):
    one = running()
    one.planner.learn(Work(1000, 0, 0), 0.001)  # a step takes no time
    with one.planner.expecting():
        assert one.submit("early").outcomes() == expected("early")


def test_nothing_is_known_of_a_first_step_and_it_starts_at_once(running):
    one = running()
    with one.planner.expecting():
        assert one.submit("early").outcomes() == expected("early")
