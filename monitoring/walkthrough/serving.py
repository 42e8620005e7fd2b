"""Cases of requests, steps and probes."""

import time
from collections.abc import Iterator

from monitoring.walkthrough.case import Case
from monitoring.walkthrough.pod import Callers, Pod

SCRAPED_S = 3.0  # a few scrapes


def short_deadlines(pods: list[Pod]) -> Iterator[str]:
    pods[0].start("--word", "slow 0.5")
    headers = {"X-Request-Timeout-S": "1"}
    with Callers(pods, headers=headers).asking(8):
        yield "deadlines shorter than the queue"
        headers["X-Request-Timeout-S"] = "60"
        yield "callers state longer timeouts"


def slow_device(pods: list[Pod]) -> Iterator[str]:
    settings = ["max_batch_responses=64", "hang_timeout_s=120"]
    pods[0].start("--word", "slow 31", settings=settings)
    with Callers(pods).asking(12):
        yield "every step takes 31 s"
        pods[0].kill()  # its last steps would take another minute
        pods[0].start(settings=settings)
        yield "the slow pod is deleted"


def held_step(pods: list[Pod]) -> Iterator[str]:
    pods[0].start()
    with Callers(pods).asking():
        pods[0].say("held")
        yield "a step never ends"
        pods[0].says("/livez", "the model is stuck or dead")
        pods[0].says("/readyz", "the model is stuck or dead")
        assert pods[0].end() == 1
        pods[0].start()
        yield "the container is restarted"


def failing_steps(pods: list[Pod]) -> Iterator[str]:
    pods[0].start()
    with Callers(pods).asking():
        pods[0].say("broken")
        yield "every step fails"
        pods[0].says("/readyz", "one step after another fails")
        pods[0].renew()
        yield "the pod is deleted"


def failing_steps_mended(pods: list[Pod]) -> Iterator[str]:
    pods[0].start()
    with Callers(pods).asking():
        pods[0].say("broken")
        yield "every step fails"
        pods[0].says("/readyz", "one step after another fails")
        pods[0].say("well")
        pods[0].says("/readyz", "ready")
        yield "nothing: the golden scores are reproduced"


def lost_device(pods: list[Pod]) -> Iterator[str]:
    pods[0].start()
    with Callers(pods).asking(), pods[0].kept_up():
        time.sleep(SCRAPED_S)
        pods[0].say("lost")
        yield "a step loses the device; the server ends, and is started again"
        pods[0].said_before('"message": "giving up", "reason": "the device failed')
        yield "nothing: watched as it comes back"


def small_memory(pods: list[Pod]) -> Iterator[str]:
    pods[0].start("--word", "small 60", settings=["max_batch_tokens=400"])
    with Callers(pods).asking(6):
        yield "steps of more than 60 tokens do not fit"
        pods[0].renew("--word", "small 60", settings=["max_batch_tokens=50"])
        yield "a lower BASEREWARD_MAX_BATCH_TOKENS"


def too_few_pods(pods: list[Pod]) -> Iterator[str]:
    serving = pods[:1]
    pods[0].start("--word", "slow 0.5")
    callers = Callers(serving, headers={"X-Request-Timeout-S": "2"})
    with callers.asking(12):
        yield "more callers than a pod can score in time"
        for pod in pods[1:]:
            pod.start("--word", "slow 0.5")
        callers.pods = pods
        yield "two pods more"


def bad_checkpoint(pods: list[Pod]) -> Iterator[str]:
    pods[0].start("--word", "drifted", ready=False)
    pods[0].says("/readyz", "golden scores are not reproduced: golden[0] gives 1.2")
    yield "the checkpoint's golden scores are not reproduced at the start"
    pods[0].renew()
    yield "the rollout is undone"


def slow_load(pods: list[Pod]) -> Iterator[str]:
    pods[0].start("--loads-for-ever", ready=False)
    pods[0].says("/readyz", "the model is loading")
    yield "the weights do not come"
    assert pods[0].end() == 0
    pods[0].start()
    yield "the pod is deleted, the volume mounted anew"


def ends_again_and_again(pods: list[Pod]) -> Iterator[str]:
    for _ in range(4):
        pods[0].start()
        time.sleep(SCRAPED_S)
        pods[0].kill()
    pods[0].start()
    yield "it is killed four times"
    yield "nothing more kills it"


def gone(pods: list[Pod]) -> Iterator[str]:
    pods[0].start()
    time.sleep(SCRAPED_S)
    pods[0].kill()
    yield "the process is gone"
    pods[0].start()
    yield "the pod is deleted; its successor answers"


CASES = [
    Case(short_deadlines, ("AvailabilityBurnsFast",), lasting=("AvailabilityBurnsSlowly",)),
    Case(slow_device, ("LatencyBurnsFast",), lasting=("LatencyBurnsSlowly",)),
    Case(held_step, ("QueueStalled",)),
    Case(failing_steps, ("FailedSteps",)),
    Case(failing_steps_mended, ("FailedSteps",)),
    Case(lost_device, ("DeviceLost", "RestartedInPlace")),
    Case(small_memory, ("OutOfMemory",)),
    Case(too_few_pods, ("SheddingSustained",), pods=3),
    Case(bad_checkpoint, ("NoPodReady", "NotReady", "GoldenDrift")),
    Case(slow_load, ("ModelLoadSlow",)),
    Case(ends_again_and_again, ("CrashLoop",)),
    Case(gone, ("TargetDown",)),
]
