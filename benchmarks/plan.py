"""The sets that can be run: which traffic goes through which systems, how large and how often; nothing is run here."""

from collections.abc import Mapping
from dataclasses import dataclass

from benchmarks.traffic import Spec

ALL = ("serial", "padded", "litserve", "vllm", "ours", "offline")
LOCAL = ("serial", "padded", "ours", "offline")
IN_PROCESS = ("serial", "padded", "offline")


@dataclass(frozen=True, slots=True)
class Case:
    """One kind of traffic. Bursts of fast systems are larger, so that each takes long enough to time."""

    name: str
    title: str
    spec: Spec
    calls: Mapping[str, int]  # system → calls of a burst
    whole: str = ""  # the case that sends the same groups whole

    @property
    def smallest(self) -> int:
        return min(self.calls.values())


@dataclass(frozen=True, slots=True)
class Plan:
    name: str
    preset: str
    cases: tuple[Case, ...]
    repetitions: int
    budget_s: float  # no repetition is begun that would end after it
    reference_rows: int = 8  # of a case, spread over it, scored one by one with stock classes
    loads: tuple[float, ...] = ()  # shares of the measured rate for the latency runs
    latency_s: float = 60.0  # how long one of them lasts, about


def groups(size: int, tokens: int, calls: Mapping[str, int], median: int = 100) -> Case:
    title = f"GRPO groups of {size}, one picture of {tokens} tokens"
    spec = Spec("A", 1, size, tokens, median)
    return Case(f"A{size}-{tokens}", title, spec, calls)


def siblings(size: int, tokens: int, calls: Mapping[str, int], median: int = 100) -> Case:
    title = f"the siblings of such groups of {size} as separate requests"
    spec = Spec("A1", 1, size, tokens, median)
    return Case(f"A1-{size}-{tokens}", title, spec, calls, whole=f"A{size}-{tokens}")


def mixed(count: int, systems: tuple[str, ...], median: int = 100) -> Case:
    spec = Spec("B", 1, image_tokens=256, median_tokens=median)
    title = "mixed singles, half with a picture of 256 tokens, responses of 16 to 1024 tokens"
    return Case("B", title, spec, dict.fromkeys(systems, count))


def short(count: int, systems: tuple[str, ...]) -> Case:
    spec = Spec("C", 1, median_tokens=24)
    return Case("C", "short text singles", spec, dict.fromkeys(systems, count))


def distinct(count: int, systems: tuple[str, ...], median: int = 100) -> Case:
    spec = Spec("D", 1, median_tokens=median)
    title = "singles, each with a picture of its own of 1024 tokens"
    return Case("D", title, spec, dict.fromkeys(systems, count))


def sizes(slow: int, fast: int, systems: tuple[str, ...] = ALL) -> dict[str, int]:
    """Calls of a burst: `fast` for the two that share by design, `slow` for the others."""
    return {name: fast if name in ("ours", "offline") else slow for name in systems}


# In `bench` LitServe runs B and C alone, for time: on groups it is `padded` again.
_NO_LITSERVE = tuple(name for name in ALL if name != "litserve")

BENCH = Plan(
    "bench",
    "50m",
    (
        groups(8, 1024, sizes(1, 3, _NO_LITSERVE)),
        groups(16, 1024, sizes(1, 2, _NO_LITSERVE)),
        siblings(8, 1024, {"ours": 3}),
        siblings(16, 1024, {"ours": 2}),
        mixed(12, ALL),
        short(64, ALL),
    ),
    repetitions=3,
    budget_s=14 * 60,
    reference_rows=4,
)

FULL = Plan(
    "full",
    "50m",
    (
        *(groups(size, 256, sizes(2, 8)) for size in (8, 16)),
        groups(64, 256, sizes(1, 3)),
        groups(8, 1024, sizes(2, 6)),
        groups(16, 1024, sizes(1, 4)),
        groups(64, 1024, sizes(1, 2)),
        *(siblings(size, 1024, sizes(1, 4)) for size in (8, 16)),
        mixed(32, ALL),
        short(128, ALL),
        distinct(6, ALL),
    ),
    repetitions=5,
    budget_s=8 * 3600,
    loads=(0.6, 0.9),
)

GPU = Plan(
    "gpu",
    "7b",
    (
        groups(8, 256, sizes(4, 16, IN_PROCESS), 300),
        groups(8, 1024, sizes(4, 16, IN_PROCESS), 300),
        groups(16, 1024, sizes(2, 8, IN_PROCESS), 300),
        groups(64, 1024, sizes(1, 4, IN_PROCESS), 300),
        mixed(64, IN_PROCESS, 300),
        short(256, IN_PROCESS),
        distinct(16, IN_PROCESS, 300),
    ),
    repetitions=3,
    budget_s=5 * 60,
)

GPU_CHECK = Plan(
    "gpu-check",
    "tiny",
    (groups(2, 16, sizes(1, 2, IN_PROCESS), 8), short(3, IN_PROCESS)),
    repetitions=2,
    budget_s=60,
    reference_rows=3,
)

SMOKE = Plan(
    "smoke",
    "tiny",
    (
        groups(4, 64, sizes(1, 2, LOCAL), 20),
        siblings(4, 64, {"ours": 2}, 20),
        short(6, LOCAL),
    ),
    repetitions=2,
    budget_s=120,
    loads=(0.6, 0.9),
    latency_s=1.0,
)

PLANS = {plan.name: plan for plan in (BENCH, FULL, GPU, GPU_CHECK, SMOKE)}
