"""A server without threads: the shipped planner under a clock that jumps, and a model that only takes time."""

import heapq
import itertools
import random
from dataclasses import dataclass, field

from service.batching.planner import Planner
from service.batching.policy import BatchLimits
from service.batching.ticket import PlannedStep
from service.core import Work

STEP_S, TOKEN_S = 0.005, 1e-4


def step_work(planned: PlannedStep) -> Work:
    """What the model computes: within a tenant every context once."""
    tokens, patches, met = 0, 0, set()
    for part in planned.step:
        example = part.example
        tokens += sum(length - example.prefix_tokens for length in part.lengths)
        name = (part.tenant, example.prefix_key or id(example))
        if name not in met:
            met.add(name)
            tokens, patches = tokens + example.prefix_tokens, patches + example.image_patches
    return Work(tokens, 0, patches)


@dataclass
class Ran:
    planned: PlannedStep
    work: Work
    begin: float
    end: float


@dataclass
class Server:
    """One step runs, one is staged as late as it can be: when the running one ends."""

    limits: BatchLimits
    noise: float = 0.0
    steps: list[Ran] = field(default_factory=list)
    idle_with_work: float = 0.0

    def __post_init__(self):
        self.planner = Planner(self.limits)
        self._rng = random.Random(0)

    def serve(self, arrivals):
        """Runs until everything is answered.

        Args:
            arrivals: (seconds, jobs), in any order.
        """
        numbers = itertools.count()
        coming = [(at, next(numbers), jobs) for at, jobs in arrivals]
        heapq.heapify(coming)
        now = 0.0
        while True:
            while coming and coming[0][0] <= now:
                self.planner.submit(heapq.heappop(coming)[2])
            planned = self.planner.take(now)
            if planned is not None:
                now = self._run(planned, now)
            elif coming:
                assert self.planner.queued_responses == 0, "idle with work in line"
                now = coming[0][0]
            else:
                return now

    def _run(self, planned, now):
        work = step_work(planned)
        took = (STEP_S + TOKEN_S * work.tokens) * self._rng.uniform(1 - self.noise, 1 + self.noise)
        self.planner.learn(work, took)
        self.steps.append(Ran(planned, work, now, now + took))
        for job, part in zip(planned.jobs, planned.step, strict=True):
            rewards = [float(part.example.lengths[r]) for r in part.responses]
            job.ticket.settle(job.item, list(zip(part.responses, rewards, strict=True)), now + took)
        return now + took
