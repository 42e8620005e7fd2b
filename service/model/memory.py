"""How a device's memory is shared out between weights, the largest step, and what is kept between steps."""

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class CacheSizes:
    """0 keeps none of a kind."""

    feature_bytes: int = 256 * 2**20  # picture features, on the device
    prefix_bytes: int = 0  # keys and values of contexts, on the device
    rewards: int = 0  # entries

    def within(self, room: int | None) -> "CacheSizes":
        """The same, shrunk alike where the device has less room for them."""
        wanted = self.feature_bytes + self.prefix_bytes
        if room is None or wanted <= room:
            return self
        share = room / wanted
        return replace(
            self,
            feature_bytes=int(self.feature_bytes * share),
            prefix_bytes=int(self.prefix_bytes * share),
        )


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """How the device's memory is shared out."""

    fraction: float = 0.9  # of the device, for weights, activations and caches together
    step_tokens: int | None = (
        None  # the largest step, for which room is left; None: the device's own
    )
    caches: CacheSizes = CacheSizes()


def largest_step(budget: int, max_tokens: int) -> int:
    """Tokens of the largest step that is ever chosen: the longest context, and half a budget of responses."""
    return max(budget, max_tokens) + budget // 2
