"""What stands in line: requests, groups of responses that share a context, and what each tenant has of them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from service.batching.cost import Tally, own_work
from service.batching.policy import Part
from service.batching.shares import ShareKey
from service.batching.ticket import Job, Ticket
from service.core import Example, Work


@dataclass(slots=True, eq=False)
class Group:
    """What waits behind one context in one share, whichever requests it came with."""

    key: tuple[ShareKey, object, int]
    example: Example  # one of those that have this context
    prefix: int  # tokens of the context
    tokens: int  # context and responses
    responses: int = 0
    jobs: dict[Job, None] = field(default_factory=dict)

    @property
    def share(self) -> ShareKey:
        return self.key[0]

    def own(self) -> Iterator[int]:
        for job in self.jobs:
            for response in job.waiting:
                yield job.example.lengths[response] - self.prefix


@dataclass(slots=True, eq=False)
class Request:
    """A ticket's place in line."""

    ticket: Ticket
    share: ShareKey
    queued_at: float
    number: int  # in order of arrival
    version: int = 0  # of its entry in the heap; older entries are void
    left: Tally = field(default_factory=Tally)
    groups: dict[Group, dict[Job, None]] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class TenantWork:
    """What one tenant has in line."""

    weight: float
    tally: Tally = field(default_factory=Tally)
    responses: int = 0


@dataclass(slots=True, eq=False)
class Look:
    """How far the choice of one step has looked down the line, so that it never looks at all of it."""

    most: int  # requests: siblings stand behind each other, and only the first brings their group
    requests: dict[Request, None] = field(default_factory=dict)
    groups: set[Group] = field(default_factory=set)


def work_of(parts: Sequence[Part[Group]]) -> Work:
    """What a step of these parts computes, each context once."""
    tally = Tally()
    for part in parts:
        tally.add_context(part.unit.example)
        left = part.responses
        for job in part.unit.jobs:
            taken = job.waiting[:left]
            tally.add(own_work(job.example, taken))
            left -= len(taken)
            if not left:
                break
    return tally.work
