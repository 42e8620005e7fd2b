"""Every metric, behind verbs of the domain; the only room that knows prometheus_client."""

from collections.abc import Callable, Iterable
from http import HTTPStatus

from prometheus_client import generate_latest

from service.core import DeviceMemory, ModelInfo, RewardSigns
from service.metrics.families import ROUTES, Families

SHED = frozenset({"overloaded", "quota_exceeded", "not_ready", "draining"})


class Metrics:
    """What the rest of the house tells."""

    def __init__(self) -> None:
        self._of = Families()

    # What happened

    def request_done(self, route: str, status: int, code: str | None, seconds: float) -> None:
        known = route if route in ROUTES else "other"
        self._of.requests.labels(known, _status_label(status, code)).inc()
        self._of.request_duration.labels(known).observe(seconds)

    def rejected(self, code: str, count: int = 1) -> None:
        self._of.rejections.labels(code).inc(count)

    def responses_done(self, outcome: str, count: int = 1) -> None:
        self._of.items.labels(outcome).inc(count)

    def prepared(self, seconds: float, images: int) -> None:
        self._of.prepare.observe(seconds)
        self._of.images.observe(images)

    def waited(self, seconds: float) -> None:
        self._of.queue_wait.observe(seconds)

    def staged(self, seconds: float) -> None:
        self._of.assembly.observe(seconds)

    def step_done(
        self, seconds: float, responses: int, tokens: int, padding: int, now: float
    ) -> None:
        self._of.forward.observe(seconds)
        self._of.batches.inc()
        self._of.batch_size.observe(responses)
        self._of.batch_tokens.observe(tokens)
        self._of.padding.inc(padding)
        self._of.last_success.set(now)

    def rewarded(self, rewards: list[float]) -> None:
        self._of.items.labels("scored").inc(len(rewards))
        for reward in rewards:
            self._of.reward.observe(reward)

    def picture_looked_up(self, *, hit: bool) -> None:
        (self._of.picture_hits if hit else self._of.picture_misses).inc()

    def loop_lagged(self, seconds: float) -> None:
        self._of.loop_lag.observe(seconds)

    def tokens(self, text: int, image: int) -> None:
        self._of.tokens.labels("text").inc(text)
        self._of.tokens.labels("image").inc(image)

    def shared(self, tokens: int) -> None:
        self._of.shared.inc(tokens)

    def non_finite(self) -> None:
        self._of.nonfinite.inc()

    def step_failed(self, kind: str) -> None:
        """`kind`: one of FAILURES."""
        self._of.failed_steps.labels(kind).inc()
        if kind == "out_of_memory":
            self._of.oom.inc()

    def golden_checked(self, outcome: str, worst: float, tolerance: float) -> None:
        """`outcome`: one of CHECKS; `worst`: difference from a golden score, NaN where unknown."""
        self._of.golden_checks.labels(outcome).inc()
        self._of.golden_worst.set(worst)
        self._of.golden_tolerance.set(tolerance)

    def charged(self, tenant: str, seconds: float) -> None:
        self._of.gpu_seconds.labels(tenant).inc(seconds)

    def grouped(self, tenant: str, run: str, groups: int, signs: RewardSigns) -> None:
        """So many more groups of a run, and what its rewards look like of late."""
        self._of.run_groups.labels(tenant, run).inc(groups)
        self._of.run_spread.labels(tenant, run).set(signs.spread)
        self._of.run_tied.labels(tenant, run).set(signs.tied_share)
        self._of.run_correlation.labels(tenant, run).set(signs.length_correlation)

    def run_forgotten(self, tenant: str, run: str) -> None:
        of = self._of
        for family in (of.run_groups, of.run_spread, of.run_tied, of.run_correlation):
            family.remove(tenant, run)

    # How things stand

    def watch(self, **readers: Callable[[], float]) -> None:
        """Gauges that are read when scraped: queue_depth, running_items, ready, …"""
        for name, read in readers.items():
            self._of.watched[name].set_function(read)

    def expect_tenants(self, names: Iterable[str]) -> None:
        for name in names:
            self._of.gpu_seconds.labels(name)

    def inflight(self, change: int) -> None:
        self._of.inflight.inc(change)

    def model_loaded(self, info: ModelInfo, seconds: float) -> None:
        labels = (info.name, info.fingerprint, info.numerics)
        self._of.model_info.labels(*labels).set(1)
        self._of.model_load.set(seconds)

    def built_with(self, version: str, torch: str, transformers: str) -> None:
        self._of.build_info.labels(version, torch, transformers).set(1)

    def device_memory(self, memory: DeviceMemory | None) -> None:
        if memory is not None:
            self._of.gpu["allocated"].set(memory.allocated_bytes)
            self._of.gpu["reserved"].set(memory.reserved_bytes)
            self._of.gpu["total"].set(memory.total_bytes)

    def render(self) -> bytes:
        return generate_latest(self._of.registry)


def _status_label(status: int, code: str | None) -> str:
    if code in SHED:
        return "shed"
    if status in (408, 504):
        return "timeout"
    if not status or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return "error"
    return "client_error" if status >= HTTPStatus.BAD_REQUEST else "ok"
