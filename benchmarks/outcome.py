"""What one burst through one system gave: the noun that runners make and the report reads."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from benchmarks.traffic import Call, Spec


@dataclass(frozen=True, slots=True)
class Outcome:
    rewards: list[float] = field(repr=False)  # in the order of the calls' responses
    makespan_s: float
    tail_s: float
    latencies_s: list[float]
    tokens: int  # of the language model, every response's whole sequence
    shared_tokens: int  # of these, not computed
    padding_tokens: int  # computed beside them
    cpu_s: float  # of the system's processes
    peak_bytes: int
    client_cpu_s: float = 0.0

    @property
    def rewards_per_s(self) -> float:
        return len(self.rewards) / self.makespan_s

    @property
    def computed_tokens(self) -> int:
        return self.tokens - self.shared_tokens + self.padding_tokens


class Runner(Protocol):
    """A system that starts when it is made; it takes calls and gives rewards."""

    name: str

    def wait(self) -> None:
        """
        Raises:
            Unavailable: it ended instead of getting ready.
        """

    def burst(self, spec: Spec, calls: Sequence[Call]) -> Outcome:
        """`calls` are what `spec` generates; a runner in a process of its own generates them there."""

    def close(self) -> None: ...


class Unavailable(Exception):
    """A system that cannot run here; the message says what would change that."""
