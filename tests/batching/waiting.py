"""Callers and jobs of the tests' own, without a model or a thread."""

from dataclasses import dataclass, field

from service.batching.ticket import Job, Share
from service.core import Example


@dataclass(eq=False)
class Caller:
    """A ticket that notes what it is told, and that it is told once."""

    deadline: float = 1000.0
    wanted: bool = True
    share: Share = field(default_factory=Share)
    told: dict = field(default_factory=dict)
    ended: float | None = None

    def started(self, now):
        pass

    def saved(self, tokens):
        pass

    def settle(self, item, outcomes, now):
        told = {(item, response): outcome for response, outcome in outcomes}
        assert not told.keys() & self.told.keys(), "settled twice"
        self.told |= told
        self.ended = now


def job(caller, *lengths, item=0, queued_at=0.0, prefix=0, key=b"", patches=0):
    example = Example(lengths, 0, None, prefix, key, image_patches=patches)
    return Job(caller, item, example, queued_at, list(range(len(lengths))))
