"""Signs of reward hacking in what a run is given: spread, ties and length bias within groups, as they go by."""

import math
import threading
from collections import Counter, OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field

from service.core import RewardSigns
from service.metrics import Metrics

MEMORY = 8_000  # responses; what is older counts ever less: about 500 groups of 16
OPEN_GROUPS = 256  # a run, whose late siblings still find them
GROUP_IDLE_S = 600.0  # after that the same context is another epoch's, and another policy's
DIGITS = 6  # decimals to which two rewards are the same


@dataclass(slots=True)
class Group:
    """The siblings of one context so far."""

    seen_at: float
    count: int = 0
    mean_reward: float = 0.0
    mean_length: float = 0.0
    rewards: Counter[float] = field(default_factory=Counter)


@dataclass(slots=True)
class Signs:
    """Sums over the groups of one run, each sibling added to its group as it comes (Welford), old ones fading."""

    groups: OrderedDict[bytes, Group] = field(default_factory=OrderedDict)
    freedom: float = 0.0  # responses less one a group
    pairs: float = 0.0
    tied: float = 0.0
    rewards: float = 0.0  # squares about the group's mean
    lengths: float = 0.0
    products: float = 0.0

    def add(self, context: bytes, reward: float, length: int, now: float) -> bool:
        """True if that made a group of it: its second sibling."""
        group = self._group(context, now)
        tied = group.rewards[round(reward, DIGITS)]
        by_reward, by_length = reward - group.mean_reward, length - group.mean_length
        siblings = group.count
        group.count += 1
        group.mean_reward += by_reward / group.count
        group.mean_length += by_length / group.count
        group.rewards[round(reward, DIGITS)] += 1
        if siblings:
            self._fade()
            self.freedom += 1
            self.pairs += siblings
            self.tied += tied
            self.rewards += by_reward * (reward - group.mean_reward)
            self.lengths += by_length * (length - group.mean_length)
            self.products += by_reward * (length - group.mean_length)
        return siblings == 1

    def read(self) -> RewardSigns:
        scale = math.sqrt(self.rewards * self.lengths)
        return RewardSigns(
            math.sqrt(self.rewards / self.freedom) if self.freedom else 0.0,
            self.tied / self.pairs if self.pairs else 0.0,
            max(-1.0, min(1.0, self.products / scale)) if scale else 0.0,
        )

    def _group(self, context: bytes, now: float) -> Group:
        group = self.groups.pop(context, None)
        if group is None or now - group.seen_at > GROUP_IDLE_S:
            group = Group(now)
        group.seen_at = now
        self.groups[context] = group
        if len(self.groups) > OPEN_GROUPS:
            self.groups.popitem(last=False)
        return group

    def _fade(self) -> None:
        keep = 1.0 - 1.0 / MEMORY
        self.freedom *= keep
        self.pairs *= keep
        self.tied *= keep
        self.rewards *= keep
        self.lengths *= keep
        self.products *= keep


class RunSigns:
    """The signs of the runs that were scored last, so many of each tenant. Thread-safe."""

    def __init__(self, metrics: Metrics, max_runs: int) -> None:
        self._metrics = metrics
        self._max_runs = max_runs
        self._tenants: dict[str, OrderedDict[str, Signs]] = {}
        self._lock = threading.Lock()

    def add(
        self, tenant: str, run: str, scored: Iterable[tuple[bytes, float, int]], now: float
    ) -> None:
        """Rewards that a run was given.

        Args:
            tenant: whose run it is.
            run: its label.
            scored: (context, reward, tokens of the response); siblings have equal contexts.
            now: monotonic seconds.
        """
        with self._lock:
            runs = self._tenants.setdefault(tenant, OrderedDict())
            signs = runs.setdefault(run, Signs())
            runs.move_to_end(run)
            groups = sum(signs.add(*one, now) for one in scored)
            self._metrics.grouped(tenant, run, groups, signs.read())
            if len(runs) > self._max_runs:
                forgotten, _ = runs.popitem(last=False)
                self._metrics.run_forgotten(tenant, forgotten)
