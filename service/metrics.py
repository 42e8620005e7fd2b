"""Every metric, behind verbs of the domain; the only room that knows prometheus_client."""

from collections.abc import Callable
from http import HTTPStatus

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from service.core import DeviceMemory, ModelInfo
from service.errors import STATUS_BY_CODE

CONTENT_TYPE = CONTENT_TYPE_LATEST
SECONDS = (
    *(0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.15, 0.25, 0.4, 0.6, 0.8),
    *(1, 1.5, 2.5, 5, 10, 20, 30, 60, 120, 300, 600),
)
LAGS = tuple(m / 1000 for m in (1, 1.5, 2, 3, 4, 6, 8, 12, 16, 20, 30, 50, 100, 250, 1000))
POWERS_OF_TWO = tuple(2**i for i in range(14))
TOKENS = tuple(2**i for i in range(5, 18))
REWARDS = (
    *(-20, -15, -10, -7.5, -5, -4, -3, -2, -1.5, -1, -0.5),
    *(0, 0.5, 1, 1.5, 2, 3, 4, 5, 7.5, 10, 15, 20),
)

ROUTES = (
    *("/score", "/v1/score", "/get_reward", "/get_reward_mllm", "/v1/score/evaluation"),
    *("/reward", "/verify", "/classify", "/v2/models/{name}/infer"),
    *("/v1/models", "/info", "/version", "/docs", "/openapi.json", "/", "other"),
)
STATUSES = ("ok", "client_error", "shed", "timeout", "error")
OUTCOMES = ("scored", "rejected", "expired", "cancelled", "failed")
SHED = frozenset({"overloaded", "quota_exceeded", "not_ready", "draining"})


class Metrics:
    """One registry a server. Every label combination exists from the first scrape."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for every counter, that no dashboard reads
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self._counters()
        self._histograms()
        self._gauges()
        self._preset()

    # What happened

    def request_done(self, route: str, status: int, code: str | None, seconds: float) -> None:
        known = route if route in ROUTES else "other"
        self._requests.labels(known, _status_label(status, code)).inc()
        self._request_duration.labels(known).observe(seconds)

    def rejected(self, code: str, count: int = 1) -> None:
        self._rejections.labels(code).inc(count)

    def responses_done(self, outcome: str, count: int = 1) -> None:
        self._items.labels(outcome).inc(count)

    def prepared(self, seconds: float, images: int) -> None:
        self._prepare.observe(seconds)
        self._images.observe(images)

    def waited(self, seconds: float) -> None:
        self._queue_wait.observe(seconds)

    def staged(self, seconds: float) -> None:
        self._assembly.observe(seconds)

    def step_done(
        self, seconds: float, responses: int, tokens: int, padding: int, now: float
    ) -> None:
        self._forward.observe(seconds)
        self._batches.inc()
        self._batch_size.observe(responses)
        self._batch_tokens.observe(tokens)
        self._padding.inc(padding)
        self._last_success.set(now)

    def rewarded(self, rewards: list[float]) -> None:
        self._items.labels("scored").inc(len(rewards))
        for reward in rewards:
            self._reward.observe(reward)

    def picture_looked_up(self, *, hit: bool) -> None:
        (self._picture_hits if hit else self._picture_misses).inc()

    def loop_lagged(self, seconds: float) -> None:
        self._loop_lag.observe(seconds)

    def tokens(self, text: int, image: int) -> None:
        self._tokens.labels("text").inc(text)
        self._tokens.labels("image").inc(image)

    def shared(self, tokens: int) -> None:
        self._shared.inc(tokens)

    def non_finite(self) -> None:
        self._nonfinite.inc()

    def out_of_memory(self) -> None:
        self._oom.inc()

    # How things stand

    def watch(self, **readers: Callable[[], float]) -> None:
        """Gauges that are read when scraped: queue_depth, running_items, ready, …"""
        for name, read in readers.items():
            self._watched[name].set_function(read)

    def inflight(self, change: int) -> None:
        self._inflight.inc(change)

    def model_loaded(self, info: ModelInfo, seconds: float) -> None:
        labels = (info.name, info.fingerprint, info.numerics)
        self._model_info.labels(*labels).set(1)
        self._model_load.set(seconds)

    def built_with(self, version: str, torch: str, transformers: str) -> None:
        self._build_info.labels(version, torch, transformers).set(1)

    def device_memory(self, memory: DeviceMemory | None) -> None:
        if memory is not None:
            self._gpu["allocated"].set(memory.allocated_bytes)
            self._gpu["reserved"].set(memory.reserved_bytes)
            self._gpu["total"].set(memory.total_bytes)

    def render(self) -> bytes:
        return generate_latest(self.registry)

    # The set, by kind (reference: docs/metrics.md)

    def _counters(self) -> None:
        count = self._counter
        self._requests = count("requests", "HTTP requests by route and outcome.", "route", "status")
        self._items = count("items", "Responses by outcome.", "outcome")
        self._rejections = count(
            "rejections", "Refused requests and items by API error code.", "reason"
        )
        self._tokens = count(
            "tokens", "Tokens of scored responses, pictures counted each time.", "kind"
        )
        self._shared = count("shared_tokens", "Tokens that siblings, caches or duplicates saved.")
        self._picture_hits = count(
            "picture_cache_hits", "Pictures that were kept, or were being decoded already."
        )
        self._picture_misses = count("picture_cache_misses", "Pictures decoded.")
        self._batches = count("batches", "Steps run.")
        self._padding = count("padding_tokens", "Tokens computed beside those of responses.")
        self._oom = count("cuda_oom", "Steps that ran out of device memory.")
        self._nonfinite = count("nonfinite_rewards", "Scores that were not finite numbers.")

    def _histograms(self) -> None:
        of = self._histogram
        self._request_duration = of("request_duration_seconds", "Whole request.", SECONDS, "route")
        self._prepare = of(
            "prepare_seconds", "Fetch, decode, resize, tokenise, a request.", SECONDS
        )
        self._queue_wait = of(
            "queue_wait_seconds", "From queued to its first step, a request.", SECONDS
        )
        self._assembly = of("batch_assembly_seconds", "Laying out and copying one step.", SECONDS)
        self._forward = of("forward_seconds", "One step on the device.", SECONDS)
        self._batch_size = of("batch_size", "Responses in a step.", POWERS_OF_TWO)
        self._batch_tokens = of("batch_tokens", "Tokens computed in a step.", TOKENS)
        self._images = of(
            "images_per_request", "Distinct pictures in a request.", (0, *POWERS_OF_TWO)
        )
        self._loop_lag = of(
            "event_loop_lag_seconds", "How late the event loop wakes what sleeps on it.", LAGS
        )
        self._reward = of("reward", "Rewards given, before any transform.", REWARDS)

    def _gauges(self) -> None:
        of = self._gauge
        self._inflight = of("inflight_requests", "Requests being answered.")
        self._watched = {
            "queue_depth": of("queue_depth", "Responses waiting for a step."),
            "running_items": of("running_items", "Responses in the running step."),
            "oldest_queued_age_seconds": of(
                "oldest_queued_age_seconds", "Age of the oldest waiting response."
            ),
            "backlog_seconds": of(
                "backlog_seconds", "Predicted time until all that was accepted is scored."
            ),
            "picture_cache_bytes": of("picture_cache_bytes", "Host memory of kept pictures."),
            "ready": of("ready", "1 when /readyz answers 200."),
            "draining": of("draining", "1 while stopping."),
        }
        self._gpu = {
            kind: of(f"gpu_memory_{kind}_bytes", f"Device memory, {kind}; 0 on CPU.")
            for kind in ("allocated", "reserved", "total")
        }
        self._model_info = of("model_info", "The served model.", "model", "fingerprint", "numerics")
        self._build_info = of("build_info", "What serves.", "version", "torch", "transformers")
        self._model_load = of("model_load_seconds", "Loading the checkpoint took this long.")
        self._last_success = of("last_success_timestamp_seconds", "When a step last succeeded.")

    def _preset(self) -> None:
        for route in ROUTES:
            self._request_duration.labels(route)
            for status in STATUSES:
                self._requests.labels(route, status)
        for outcome in OUTCOMES:
            self._items.labels(outcome)
        for code in STATUS_BY_CODE:
            self._rejections.labels(code)
        for kind in ("text", "image"):
            self._tokens.labels(kind)

    def _counter(self, name: str, doc: str, *labels: str) -> Counter:
        return Counter(f"basereward_{name}", doc, labels, registry=self.registry)

    def _histogram(
        self, name: str, doc: str, buckets: tuple[float, ...], *labels: str
    ) -> Histogram:
        return Histogram(f"basereward_{name}", doc, labels, buckets=buckets, registry=self.registry)

    def _gauge(self, name: str, doc: str, *labels: str) -> Gauge:
        return Gauge(f"basereward_{name}", doc, labels, registry=self.registry)


def _status_label(status: int, code: str | None) -> str:
    if code in SHED:
        return "shed"
    if status in (408, 504):
        return "timeout"
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return "error"
    return "client_error" if status >= HTTPStatus.BAD_REQUEST else "ok"
