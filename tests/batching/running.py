"""The model's threads as tests meet them: callers that can be waited for, and a stand-in that can be held."""

import threading
import time

from service.batching.planner import Planner
from service.batching.policy import BatchLimits
from service.batching.runner import Runner
from service.batching.ticket import Job, Share
from service.core import Item, Turn
from service.errors import ServiceError
from service.metrics import Metrics
from tests.models import WAIT_S, StandIn, reward


class Caller:
    """A ticket that a test can wait on."""

    def __init__(self, count: int, now: float, tenant: str) -> None:
        self.deadline = now + WAIT_S
        self.wanted = True
        self.share = Share(tenant)
        self.saved_tokens = 0
        self.told: dict[int, float | ServiceError] = {}
        self._count = count
        self._done = threading.Event()

    def started(self, now: float) -> None:
        pass

    def saved(self, tokens: int) -> None:
        self.saved_tokens += tokens

    def settle(self, item, outcomes, now) -> None:
        assert not self.told.keys() & {r for r, _ in outcomes}, "settled twice"
        self.told |= dict(outcomes)
        if len(self.told) == self._count:
            self._done.set()

    def outcomes(self) -> list[float | str]:
        assert self._done.wait(WAIT_S), "a caller was never answered"
        told = [self.told[r] for r in range(self._count)]
        return [o.code if isinstance(o, ServiceError) else o for o in told]


class Running:
    def __init__(self, model: StandIn, max_tokens: int = 1000, wait_s: float = 0.0) -> None:
        self.model = model
        self.planner = Planner(BatchLimits(max_tokens, 64), wait_s)
        self.metrics = Metrics()
        self.lost = threading.Event()
        self.runner = Runner(model, self.planner, self.metrics, on_lost=self.lost.set)

    def clock(self) -> float:
        return time.monotonic()

    def sample(self, line: str) -> float:
        rows = self.metrics.render().decode().splitlines()
        (value,) = [row.rpartition(" ")[2] for row in rows if row.startswith(f"basereward_{line} ")]
        return float(value)

    def submit(self, *responses: str, prompt: str = "Which?", tenant: str = "default") -> Caller:
        now = self.clock()
        caller = Caller(len(responses), now, tenant)
        item = Item((Turn("user", (prompt,)),), responses)
        (example,) = self.model.encode([item], {})
        job = Job(caller, 0, example, now, list(range(len(responses))))
        self.planner.submit([job])
        return caller

    def occupy(self) -> Caller:
        """A step stands in the held model."""
        self.model.hold()
        caller = self.submit("first")
        assert self.model.entered.acquire(timeout=WAIT_S)
        return caller


def expected(*responses):
    return [reward("Which?", response) for response in responses]
