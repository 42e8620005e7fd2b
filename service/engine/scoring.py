"""One request on its way through the house: prepared, queued, waited for, answered."""

import asyncio
import itertools
import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

from service.batching.planner import Job, Outcome, Planner
from service.core import Example, RewardModel, Warned
from service.engine.call import Call, Scored, Timing, refusal, usage_of
from service.engine.fair_pool import Flow
from service.engine.pictures import Lease
from service.engine.plan import Place, Plan
from service.engine.preparation import Prepared, Preparer
from service.engine.signs import RunSigns
from service.engine.waiting import waited
from service.errors import DeadlineExceeded, ServiceError
from service.metrics import Metrics

LARGE = 256  # responses; more are counted and answered beside the event loop
JOBS_AT_ONCE = 128  # join the line in one turn of the event loop


class Scoring:
    def __init__(
        self, call: Call, fail: bool, planner: Planner, metrics: Metrics, signs: RunSigns | None
    ) -> None:
        self._call = call
        self._fail = fail
        self._planner = planner
        self._metrics = metrics
        self._signs = signs  # None: the caller names no run
        self._prepared: dict[Place, Prepared] = {}
        self._prepared_at = 0.0

    async def run(
        self, preparer: Preparer, model: RewardModel, plan: Plan, flow: Flow, lease: Lease
    ) -> Scored:
        """
        Raises:
            ServiceError: the request as a whole is refused.
        """
        call = self._call
        with self._planner.expecting():
            prepared = await self._prepare(preparer, model, plan, flow, lease)
        await waited(call.deadline - time.monotonic(), call.wait())
        if not call.settled:  # thousands can have the same deadline
            await preparer.turns.take()
        answer = partial(self._answer, prepared)
        return await preparer.beside(flow, answer) if call.responses > LARGE else answer()

    async def _prepare(
        self, preparer: Preparer, model: RewardModel, plan: Plan, flow: Flow, lease: Lease
    ) -> list[tuple[Place, Prepared]]:
        """Until everything is in line or has an error of its own; in the order of the request."""
        call, begin = self._call, time.monotonic()
        work = preparer.prepare(model, plan, flow, lease, self._ready)
        await waited(call.deadline - time.monotonic(), work)
        self._prepared_at = time.monotonic()
        self._metrics.prepared(self._prepared_at - begin, len(plan.pictures))
        prepared = self._told_late(plan)
        if self._fail:
            self._refuse(list(_refusals(prepared)))
            await self._submit_in_turns(prepared)
        return prepared

    def _ready(self, some: list[tuple[Place, Prepared]]) -> None:
        """With `on_error: null` what is ready joins the line, so that a deadline costs only the rest.

        With `fail` it has to wait: one bad item refuses the request, and then nothing of it is scored.
        """
        self._prepared |= some
        if not self._fail:
            self._submit(some)

    def _told_late(self, plan: Plan) -> list[tuple[Place, Prepared]]:
        late = DeadlineExceeded("the deadline passed before it was prepared")
        places = plan.places()
        self._ready([(place, late) for place in places if place not in self._prepared])
        return [(place, self._prepared[place]) for place in places]

    async def _submit_in_turns(self, prepared: Sequence[tuple[Place, Prepared]]) -> None:
        entries = iter(prepared)
        while some := list(itertools.islice(entries, JOBS_AT_ONCE)):
            self._submit(some)
            if len(some) == JOBS_AT_ONCE:
                await asyncio.sleep(0)

    def _submit(self, some: Sequence[tuple[Place, Prepared]]) -> None:
        now = time.monotonic()
        jobs = [job for place, prepared in some for job in self._jobs(place, prepared, now)]
        if jobs:
            self._planner.submit(jobs)

    def _jobs(self, place: Place, prepared: Prepared, now: float) -> Iterator[Job]:
        if isinstance(prepared, ServiceError):
            refused = [(place.first + r, prepared) for r in range(place.responses)]
            self._call.settle(place.item, refused, now)
            return
        refused = [
            (place.first + r, e) for r, e in prepared.refused.items() if isinstance(e, ServiceError)
        ]
        if refused:
            self._call.settle(place.item, refused, now)
        waiting = [r for r in range(len(prepared.lengths)) if r not in prepared.refused]
        if waiting:
            yield Job(self._call, place.item, prepared, now, waiting, place.first)

    # The answer

    def _answer(self, prepared: Sequence[tuple[Place, Prepared]]) -> Scored:
        call = self._call
        outcomes = call.outcomes(DeadlineExceeded("the deadline passed before it was scored"))
        if self._fail:
            self._refuse(list(_errors(outcomes)))
        examples = [e for _, e in prepared if isinstance(e, Example)]
        usage = usage_of(examples, outcomes, call.saved_tokens)
        timing = self._timing()
        self._metrics.waited(timing.queue)
        self._count(outcomes)
        if self._signs is not None:
            scored = _siblings(prepared, outcomes)
            self._signs.add(call.share.tenant, call.share.run, scored, time.monotonic())
        self._metrics.tokens(usage.text_tokens, usage.image_tokens)
        return Scored(outcomes, list(_warnings(prepared)), usage, timing)

    def _refuse(self, errors: list[tuple[int, int | None, ServiceError]]) -> None:
        if errors:
            for label, count in Counter(_label(error) for _, _, error in errors).items():
                self._metrics.responses_done(label, count)
            raise refusal(errors)

    def _count(self, outcomes: list[list[Outcome]]) -> None:
        flat = [o for group in outcomes for o in group]
        errors = [o for o in flat if isinstance(o, ServiceError)]
        self._metrics.rewarded([o for o in flat if not isinstance(o, ServiceError)])
        for label, count in Counter(map(_label, errors)).items():
            self._metrics.responses_done(label, count)
        for code, count in Counter(error.code for error in errors).items():
            self._metrics.rejected(code, count)

    def _timing(self) -> Timing:
        call, now = self._call, time.monotonic()
        started, ended = call.started_at or now, call.ended_at or now
        return Timing(
            now - call.begun,
            self._prepared_at - call.begun,
            max(0.0, started - self._prepared_at),
            max(0.0, ended - started),
        )


def _refusals(
    prepared: Sequence[tuple[Place, Prepared]],
) -> Iterator[tuple[int, int | None, ServiceError]]:
    """(item, response, error) of all that preparation refused; what is wrong with a whole item stands once."""
    refused: set[int] = set()
    for place, found in prepared:
        if isinstance(found, Example):
            errors = (e for e in found.refused.values() if isinstance(e, ServiceError))
            yield from ((place.item, e.response, e) for e in errors)
        elif place.item not in refused:
            refused.add(place.item)
            yield place.item, found.response, found


def _warnings(prepared: Sequence[tuple[Place, Prepared]]) -> Iterator[tuple[int, Warned]]:
    """(item, what); what goes for a whole item stands once."""
    for place, found in prepared:
        for note in found.warnings if isinstance(found, Example) else ():
            if note.response is not None:
                yield place.item, replace(note, response=place.first + note.response)
            elif place.first == 0:
                yield place.item, note


def _errors(
    outcomes: list[list[Outcome]],
) -> Iterator[tuple[int, int | None, ServiceError]]:
    for i, group in enumerate(outcomes):
        for r, outcome in enumerate(group):
            if isinstance(outcome, ServiceError):
                yield i, r, outcome


def _siblings(
    prepared: Sequence[tuple[Place, Prepared]], outcomes: Sequence[Sequence[Outcome]]
) -> Iterator[tuple[bytes, float, int]]:
    """(context, reward, tokens of the response) of all that was scored."""
    for place, example in prepared:
        if isinstance(example, Example):
            context = example.prefix_key or random.randbytes(16)  # noqa: S311 - only its own
            group = outcomes[place.item][place.first :]
            for length, outcome in zip(example.lengths, group, strict=False):
                if not isinstance(outcome, ServiceError):
                    yield context, outcome, length - example.prefix_tokens


def _label(error: ServiceError) -> str:
    if error.code == "deadline_exceeded":
        return "expired"
    return "failed" if error.status >= 500 else "rejected"  # noqa: PLR2004 - HTTP's own split
