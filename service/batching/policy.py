"""What goes into the next step, and when it is closed: pure functions, without clock, lock or torch."""

import heapq
import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

# A request is passed by smaller ones for at most so many times its own length: one of 10 s waits no
# more than 40 s before whoever comes later stands behind it. 0 would be first come, first served, where
# a large request holds up everyone; without end it could starve. At 4 a request ten times smaller
# passes, if it comes in time, and nobody is slowed down by much more than a share of five.
PATIENCE = 4.0
HESITATION = 0.1  # of the step in hand
OWN_SHARE = 0.5  # of the budget, for the responses to a context, however long it is
DOUBT = 0.05  # of a predicted time: a step may well end so much sooner
# Of a step, in time: what tenants with so little to do may take before it, in a step of their own, at most twice. They
# wait for the step that runs, not for the next one too; the others lose a fifth at worst.
LIGHT = 0.125


@dataclass(frozen=True, slots=True)
class BatchLimits:
    max_tokens: int  # computed: a context that responses share counts once
    max_responses: int
    most_tokens: float = math.inf  # of a step over a long context, where one ran out of memory
    max_passed: int = 128  # groups looked at to fill the room that the next in turn does not fit in


class Unit(Protocol):
    """A group's waiting responses: they share a context and go together where they can."""

    @property
    def prefix(self) -> int: ...  # tokens of the context

    @property
    def tokens(self) -> int: ...  # to compute if all of it goes: context and responses

    @property
    def responses(self) -> int: ...

    def own(self) -> Iterator[int]:
        """Tokens that each response adds, in order."""


U = TypeVar("U", bound=Unit)
K = TypeVar("K")


@dataclass(frozen=True, slots=True)
class Queue(Generic[U]):
    """One share's line: groups in order of `due`, read only as far as the step needs."""

    units: Iterator[U]
    weight: float = 1.0
    served: float = 0.0  # tokens computed for it so far, divided by its weight


@dataclass(frozen=True, slots=True)
class Part(Generic[U]):
    """The first so many waiting responses of a group."""

    unit: U
    responses: int


def due(queued_at: float, deadline: float, remaining_s: float) -> float:
    """When a request's turn is, on the clock of its arguments; the earliest goes first.

    It gets earlier as the request shrinks: what is begun is finished rather than something else begun.
    A deadline that could not be met alone and from the first moment does not put it before others.
    """
    turn = queued_at + PATIENCE * remaining_s
    latest = deadline - remaining_s
    return min(turn, latest) if latest >= queued_at else turn


def close_in_s(started_at: float, predicted_s: float, margin_s: float, now: float) -> float:
    """How long the next step can stay open for late siblings while another one runs.

    Args:
        started_at: of the running step.
        predicted_s: that it takes.
        margin_s: what choosing and staging take.
        now: on the clock of `started_at`.
    """
    return max(0.0, started_at + predicted_s * (1.0 - DOUBT) - margin_s - now)


def hesitate_s(step_s: float) -> float:
    """How long an idle model waits for requests that are just being prepared.

    A sibling that comes too late costs its context once more. Who waits in vain loses so little of
    what the step takes anyway that nobody notices.

    Args:
        step_s: predicted for what is in line already; nothing is known of a first step, and it starts at once.
    """
    return HESITATION * step_s


def light(costs_s: Mapping[K, float], step_s: float) -> set[K]:
    """Whose part of a step is so small that it goes first, in a step of its own.

    Args:
        costs_s: predicted time of a step of each one's part alone.
        step_s: predicted time of the whole step.
    """
    chosen: set[K] = set()
    spent_s = 0.0
    for key in sorted(costs_s, key=lambda key: costs_s[key]):
        spent_s += costs_s[key]
        if spent_s >= LIGHT * step_s:  # nothing is, before a step has run
            break
        chosen.add(key)
    return chosen


def take_step(
    queues: Mapping[K, Queue[U]], limits: BatchLimits
) -> tuple[list[Part[U]], dict[K, float]]:
    """Choose the next step.

    Shares take turns by weight: the group goes next whose share would then have been served least
    (deficit round robin, its rounds made as short as one group). When the next in turn does not fit,
    it is passed over this time and the room is filled with smaller groups, the largest first. The
    first group always goes, in as many of its responses as fit and at least one: so the line moves.
    Half of the budget is theirs, however long their context is.

    Returns:
        What of which groups to take, and what each share has been served by then.
    """
    step = _Choice(queues, limits)
    step.take_turns()
    step.fill()
    return step.parts, step.served


class _Choice(Generic[K, U]):
    """A step while it is being chosen."""

    def __init__(self, queues: Mapping[K, Queue[U]], limits: BatchLimits) -> None:
        self.parts: list[Part[U]] = []
        self.served = {key: queue.served for key, queue in queues.items()}
        self._queues = queues
        self._limits = limits
        self._room = limits.max_tokens
        self._places = limits.max_responses
        self._order = itertools.count()
        self._heads: list[tuple[float, int, K, U]] = []  # the next of each share, by turn

    def take_turns(self) -> None:
        """Until the next group in turn does not fit."""
        for key in self._queues:
            self._look(key)
        while self._heads:
            _, _, key, unit = heapq.heappop(self._heads)
            if not self._add(key, unit):
                break
            self._look(key)

    def fill(self) -> None:
        """Use the room that is left for what fits best among the groups that come next."""
        if self._room <= 0 or self._places <= 0:
            return
        each = max(1, self._limits.max_passed // max(1, len(self._queues)))
        left = [(key, unit) for _, _, key, unit in self._heads]
        for key, queue in self._queues.items():
            left += [(key, unit) for unit in itertools.islice(queue.units, each)]
        for key, unit in sorted(left, key=lambda entry: -entry[1].tokens):
            self._add(key, unit)

    def _look(self, key: K) -> None:
        queue = self._queues[key]
        unit = next(queue.units, None)
        if unit is not None:
            turn = self.served[key] + min(unit.tokens, self._limits.max_tokens) / queue.weight
            heapq.heappush(self._heads, (turn, next(self._order), key, unit))

    def _add(self, key: K, unit: U) -> bool:
        """Take as much of the group as may go now; False if nothing may."""
        responses, tokens = self._portion(unit)
        if responses == 0:
            return False
        self.parts.append(Part(unit, responses))
        self.served[key] += tokens / self._queues[key].weight
        self._room -= tokens
        self._places -= responses
        return True

    def _portion(self, unit: U) -> tuple[int, int]:
        """How many of its responses may go, and what they cost."""
        room = self._room if self.parts else self._room_of_first(unit)
        if unit.tokens <= room and unit.responses <= self._places:
            return unit.responses, unit.tokens
        if self.parts and not self._may_split(unit):
            return 0, 0
        count, tokens = 0, unit.prefix
        for own in itertools.islice(unit.own(), max(0, self._places)):
            if tokens + own > room and (count or self.parts):
                break
            count, tokens = count + 1, tokens + own
        return count, tokens

    def _room_of_first(self, unit: U) -> float:
        """More than the budget where the context alone takes most of it: else each response would compute it anew."""
        budget, most = self._limits.max_tokens, self._limits.most_tokens
        return max(budget, min(unit.prefix + OWN_SHARE * budget, most))

    def _may_split(self, unit: U) -> bool:
        """Every part computes the context again: only a group too big for any step is cut for it."""
        limits = self._limits
        huge = unit.tokens > limits.max_tokens or unit.responses > limits.max_responses
        return unit.prefix == 0 or (huge and 2 * unit.prefix <= self._room)
