"""Cases of rewards, hosts and runs."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from monitoring.walkthrough.case import Case
from monitoring.walkthrough.pod import Callers, Pod

OFTEN = ("golden_interval_s=1",)
RUN = {"X-Run": "walk"}
SCRAPED_S = 3.0  # a few scrapes
BIG = 250_000  # characters of a response


def not_finite(pods: list[Pod]) -> Iterator[str]:
    pods[0].start()
    with Callers(pods, headers=RUN).asking():
        pods[0].say("nan")
        yield "the model gives a NaN"
        pods[0].renew()
        yield "the pod is deleted"


def drift(pods: list[Pod]) -> Iterator[str]:
    pods[0].start(settings=OFTEN)
    with Callers(pods).asking(), pods[0].kept_up(settings=OFTEN):
        time.sleep(SCRAPED_S)
        pods[0].say("drifted")
        yield "golden scores are not reproduced any more; the server ends, and is started again"
        pods[0].said_before("golden scores are not reproduced any more: golden[0] gives 1.2")
        pods[0].renew(settings=OFTEN)
        yield "the pod is deleted; its successor is on another node"


def unchecked(pods: list[Pod]) -> Iterator[str]:
    pods[0].start(settings=OFTEN)
    time.sleep(3)
    pods[0].say("unchecked")
    yield "the check itself fails"
    pods[0].renew(settings=OFTEN)
    yield "the pod is deleted"


def two_functions(pods: list[Pod]) -> Iterator[str]:
    pods[0].start("--fingerprint", "sha256:one")
    pods[1].start("--fingerprint", "sha256:two")
    yield "a rollout stopped half-way"
    pods[1].renew("--fingerprint", "sha256:one")
    yield "the rollout is undone"


def two_chips(pods: list[Pod]) -> Iterator[str]:
    pods[0].start("--numerics", "bf16/fast/sm90/torch-2.13")
    pods[1].start("--numerics", "bf16/fast/sm80/torch-2.13")
    yield "two kinds of GPU"
    pods[1].renew("--numerics", "bf16/fast/sm90/torch-2.13")
    yield "one kind of node"


def throttled(pods: list[Pod]) -> Iterator[str]:
    pods[0].start()
    with _pulses(pods[0]):
        yield "the process is stopped for 0.4 s of every 0.8 s, as a CPU limit does"
    yield "the limit is taken away"


def large_requests(pods: list[Pod]) -> Iterator[str]:
    gpu = ("--gpu-bytes", str(80 * 2**30))
    pods[0].start(*gpu, settings=["hang_timeout_s=600"])
    pods[0].say("held")
    with Callers(pods, body=_big).asking(40):
        yield "large requests wait"
        pods[0].kill()
        limits = ["max_queued_bytes=20000000", "hang_timeout_s=600"]
        pods[0].start(*gpu, settings=limits)
        pods[0].say("held")
        yield "a lower BASEREWARD_MAX_QUEUED_BYTES, under the same load"


def tied(pods: list[Pod]) -> Iterator[str]:
    pods[0].start()
    callers = Callers(pods, body=_copies, headers=RUN)
    with callers.asking(1):
        yield "the policy gives one answer to everything"
        callers.body = _many
        yield "its temperature is raised"


def collapsed(pods: list[Pod]) -> Iterator[str]:
    pods[0].start()
    with Callers(pods, body=_many, headers=RUN).asking(1):
        time.sleep(20)
        pods[0].say("level")
        yield "rewards within groups hardly differ any more"
        pods[0].say("well")
        yield "the run goes back to an earlier step"


def by_length(pods: list[Pod]) -> Iterator[str]:
    pods[0].start("--word", "long")
    with Callers(pods, body=_many, headers=RUN).asking(1):
        yield "the reward is the length"
        pods[0].say("well")
        yield "length is capped and pays no more"


@contextmanager
def _pulses(pod: Pod) -> Iterator[None]:
    over = threading.Event()

    def beat() -> None:
        while not over.wait(0.4):
            pod.pause(stopped=True)
            over.wait(0.4)
            pod.pause(stopped=False)

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _big(number: int) -> dict[str, Any]:
    responses = [f"{number}-{i}" + "x" * BIG for i in range(40)]
    return {"prompt": "Why?", "responses": responses}


def _copies(number: int) -> dict[str, Any]:
    items = [{"prompt": f"Question {number}-{i}", "responses": ["Yes."] * 4} for i in range(50)]
    return {"items": items}


def _many(number: int) -> dict[str, Any]:
    def answers(i: int) -> list[str]:
        return [f"Answer {number}-{i}-{j}" + "!" * (7 * j) for j in range(4)]

    return {"items": [{"prompt": f"Q {number}-{i}", "responses": answers(i)} for i in range(50)]}


CASES = [
    Case(not_finite, ("NonFiniteReward",)),
    Case(drift, ("GoldenDrift", "RestartedInPlace")),
    Case(unchecked, ("GoldenCheckMissing",)),
    Case(two_functions, ("MixedFingerprints",), pods=2),
    Case(two_chips, ("MixedNumerics",), pods=2),
    Case(throttled, ("EventLoopLag",)),
    Case(large_requests, ("HostMemory",)),
    Case(tied, ("RunRewardsTied",)),
    Case(collapsed, ("RunSpreadCollapsed",)),
    Case(by_length, ("RunRewardFollowsLength",)),
]
