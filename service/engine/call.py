"""One waiting request, and what it is answered with."""

import asyncio
import threading
from collections.abc import Sequence
from dataclasses import dataclass

from service.batching.planner import Outcome, Share
from service.core import Example, Warned
from service.engine.turns import Turns
from service.errors import ItemError, ServiceError

MAX_LISTED = 1000  # bad items in the answer of a refused request


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds. `queue` ends when the request's first step starts, `forward` when its last one ends."""

    total: float
    prepare: float
    queue: float
    forward: float


@dataclass(frozen=True, slots=True)
class Usage:
    items: int
    responses: int
    text_tokens: int
    image_tokens: int
    shared_tokens: int


@dataclass(frozen=True, slots=True)
class Scored:
    """Outcomes mirror the items: for each of its responses a reward or that response's error."""

    outcomes: list[list[Outcome]]
    warnings: list[tuple[int, Warned]]  # (item, what)
    usage: Usage
    timing: Timing


class Call:
    """A `Ticket` that wakes its event loop once, when every response is settled."""

    def __init__(
        self, counts: Sequence[int], begun: float, timeout_s: float, share: Share, turns: Turns
    ) -> None:
        self.share = share
        self.saved_tokens = 0
        self.begun = begun  # monotonic seconds, as all times here
        self.deadline = begun + timeout_s
        self.wanted = True
        self.started_at: float | None = None
        self.ended_at: float | None = None
        self._outcomes: list[list[Outcome | None]] = [[None] * n for n in counts]
        self.responses = self._left = sum(counts)
        self._lock = threading.Lock()
        self._turns = turns
        self._loop = asyncio.get_running_loop()
        self._done = asyncio.Event()
        if not self.responses:
            self._done.set()

    def started(self, now: float) -> None:
        if self.started_at is None:
            self.started_at = now

    def settle(self, item: int, outcomes: Sequence[tuple[int, Outcome]], now: float) -> None:
        with self._lock:
            for response, outcome in outcomes:
                self._outcomes[item][response] = outcome
            self._left -= len(outcomes)
            finished = self._left == 0
        self.ended_at = now
        if finished and self.wanted:
            self._loop.call_soon_threadsafe(self._turns.give, self._done.set)

    def saved(self, tokens: int) -> None:
        self.saved_tokens += tokens  # the model thread alone

    @property
    def settled(self) -> bool:
        """Every response has its outcome."""
        return self._left == 0

    async def wait(self) -> None:
        await self._done.wait()

    def outcomes(self, missing: ServiceError) -> list[list[Outcome]]:
        """Everything settled so far; what is not is `missing`."""
        with self._lock:
            return [[missing if o is None else o for o in group] for group in self._outcomes]


def usage_of(
    examples: Sequence[Example], outcomes: Sequence[Sequence[Outcome]], saved_tokens: int
) -> Usage:
    scored = [(e, [n for r, n in enumerate(e.lengths) if r not in e.refused]) for e in examples]
    image = sum(example.image_tokens * len(lengths) for example, lengths in scored)
    total = sum(sum(lengths) for _, lengths in scored)
    return Usage(len(outcomes), sum(map(len, outcomes)), total - image, image, saved_tokens)


def refusal(errors: Sequence[tuple[int, int | None, ServiceError]]) -> ServiceError:
    """One error for a request with bad items: that of the lowest, with the list of the first `MAX_LISTED`.

    Args:
        errors: (item, response, error), in order; response None where the whole item is at fault.
    """
    _, _, first = errors[0]
    listed = [ItemError(i, error.code, error.located, r) for i, r, error in errors[:MAX_LISTED]]
    return ServiceError(
        first.message, code=first.code, param=first.param, items=listed, headers=first.headers
    )
