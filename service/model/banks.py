"""What a model keeps between steps, each tenant's apart: picture features, keys and values of contexts, rewards."""

import threading
import weakref
from collections import OrderedDict
from dataclasses import dataclass
from typing import Generic, TypeVar

from torch import Tensor

from service.core import Patches
from service.model.attention import LayerRows
from service.model.memory import CacheSizes

V = TypeVar("V")
Key = tuple[
    str, bytes
]  # tenant, and a digest of everything the value depends on beside the weights


class Bank(Generic[V]):
    """A least-recently-used store, bounded by bytes. Belongs to one loaded model; thread-safe."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.held_bytes = 0
        self._entries: OrderedDict[Key, tuple[V, int]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Key) -> V | None:
        with self._lock:
            if key not in self._entries:
                return None
            self._entries.move_to_end(key)
            return self._entries[key][0]

    def put(self, key: Key, value: V, num_bytes: int) -> None:
        """Keep it, if it fits at all; the oldest ones make room."""
        with self._lock:
            self._drop(key)
            if num_bytes > self.max_bytes:
                return
            self._entries[key] = (value, num_bytes)
            self.held_bytes += num_bytes
            while self.held_bytes > self.max_bytes:
                self._drop(next(iter(self._entries)))

    def discard(self, key: Key) -> None:
        with self._lock:
            self._drop(key)

    def _drop(self, key: Key) -> None:
        if key in self._entries:
            self.held_bytes -= self._entries.pop(key)[1]


@dataclass(slots=True)
class Feature:
    """One picture's visual tokens, or the patches they are still to be made from."""

    patches: Patches | None  # None once the features are made
    rows: Tensor | None = None  # [tokens, hidden]


class UnkeptPromise(LookupError):
    """A context that another step was to compute was not."""


class Promise:
    """Held by a staged step for the contexts it will compute: gone with a step that nobody wanted any more."""


@dataclass(slots=True)
class Prefix:
    """A context's keys and values; promised by the step that computes them, then filled."""

    tokens: int
    promise: "weakref.ref[Promise]"
    layers: list[LayerRows] | None = None

    @property
    def is_to_be_had(self) -> bool:
        return self.layers is not None or self.promise() is not None


@dataclass(frozen=True, slots=True)
class Banks:
    features: Bank[Feature]
    prefixes: Bank[Prefix]
    rewards: Bank[float]


def make_banks(sizes: CacheSizes) -> Banks:
    return Banks(Bank(sizes.feature_bytes), Bank(sizes.prefix_bytes), Bank(sizes.rewards))
