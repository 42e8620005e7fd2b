"""The set of metrics: names, types, labels and buckets (reference: docs/metrics.md)."""

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
)
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from service.errors import STATUS_BY_CODE

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
FAILURES = ("out_of_memory", "error", "device_lost")
CHECKS = ("reproduced", "drifted", "failed")
RUN = ("tenant", "run")


class Families:
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

    def _counters(self) -> None:
        count = self._counter
        self.requests = count("requests", "HTTP requests by route and outcome.", "route", "status")
        self.items = count("items", "Responses by outcome.", "outcome")
        self.rejections = count(
            "rejections", "Refused requests and items by API error code.", "reason"
        )
        self.tokens = count(
            "tokens", "Tokens of scored responses, pictures counted each time.", "kind"
        )
        self.shared = count("shared_tokens", "Tokens that siblings, caches or duplicates saved.")
        self.picture_hits = count(
            "picture_cache_hits", "Pictures that were kept, or were being decoded already."
        )
        self.picture_misses = count("picture_cache_misses", "Pictures decoded.")
        self.batches = count("batches", "Steps run.")
        self.padding = count("padding_tokens", "Tokens computed beside those of responses.")
        self.oom = count("cuda_oom", "Steps that ran out of device memory.")
        self.nonfinite = count("nonfinite_rewards", "Scores that were not finite numbers.")
        self.failed_steps = count("failed_steps", "Steps that failed, by why.", "kind")
        self.golden_checks = count("golden_checks", "Checks of the golden scores.", "outcome")
        self.gpu_seconds = count("gpu_seconds", "Step seconds, shared out by tokens.", "tenant")
        self.run_groups = count("run_groups", "Groups of scored siblings of a run.", *RUN)

    def _histograms(self) -> None:
        of = self._histogram
        self.request_duration = of("request_duration_seconds", "Whole request.", SECONDS, "route")
        self.prepare = of("prepare_seconds", "Fetch, decode, resize, tokenise, a request.", SECONDS)
        self.queue_wait = of(
            "queue_wait_seconds", "From queued to its first step, a request.", SECONDS
        )
        self.assembly = of("batch_assembly_seconds", "Laying out and copying one step.", SECONDS)
        self.forward = of("forward_seconds", "One step on the device.", SECONDS)
        self.batch_size = of("batch_size", "Responses in a step.", POWERS_OF_TWO)
        self.batch_tokens = of("batch_tokens", "Tokens computed in a step.", TOKENS)
        self.images = of(
            "images_per_request", "Distinct pictures in a request.", (0, *POWERS_OF_TWO)
        )
        self.loop_lag = of(
            "event_loop_lag_seconds", "How late the event loop wakes what sleeps on it.", LAGS
        )
        self.reward = of("reward", "Rewards given, before any transform.", REWARDS)

    def _gauges(self) -> None:
        of = self._gauge
        self.inflight = of("inflight_requests", "Requests being answered.")
        self.watched = {
            "queue_depth": of("queue_depth", "Responses waiting for a step."),
            "running_items": of("running_items", "Responses in the running step."),
            "oldest_queued_age_seconds": of(
                "oldest_queued_age_seconds", "Age of the oldest waiting response."
            ),
            "backlog_seconds": of(
                "backlog_seconds", "Predicted time until all that was accepted is scored."
            ),
            "picture_cache_bytes": of("picture_cache_bytes", "Host memory of kept pictures."),
            "failed_steps_in_a_row": of(
                "failed_steps_in_a_row", "Failed steps since one that scored anything."
            ),
            "step_token_budget": of("step_token_budget", "Tokens that a step may have now."),
            "alive": of("alive", "1 when /livez answers 200."),
            "ready": of("ready", "1 when /readyz answers 200."),
            "draining": of("draining", "1 while stopping."),
        }
        self.gpu = {
            kind: of(f"gpu_memory_{kind}_bytes", f"Device memory, {kind}; 0 on CPU.")
            for kind in ("allocated", "reserved", "total")
        }
        self.model_info = of("model_info", "The served model.", "model", "fingerprint", "numerics")
        self.build_info = of("build_info", "What serves.", "version", "torch", "transformers")
        self.model_load = of("model_load_seconds", "Loading the checkpoint took this long.")
        self.last_success = of("last_success_timestamp_seconds", "When a step last succeeded.")
        self.golden_worst = of("golden_worst_difference", "Largest, in the last golden check.")
        self.golden_tolerance = of("golden_tolerance", "Difference from a golden score allowed.")
        self.run_spread = of("run_group_spread", "Deviation of rewards within groups.", *RUN)
        self.run_tied = of("run_tied_share", "Share of siblings with the same reward.", *RUN)
        self.run_correlation = of(
            "run_reward_length_correlation", "Of reward and length within groups.", *RUN
        )

    def _preset(self) -> None:
        for route in ROUTES:
            self.request_duration.labels(route)
            for status in STATUSES:
                self.requests.labels(route, status)
        for outcome in OUTCOMES:
            self.items.labels(outcome)
        for code in STATUS_BY_CODE:
            self.rejections.labels(code)
        for kind in ("text", "image"):
            self.tokens.labels(kind)
        for kind in FAILURES:
            self.failed_steps.labels(kind)
        for outcome in CHECKS:
            self.golden_checks.labels(outcome)

    def _counter(self, name: str, doc: str, *labels: str) -> Counter:
        return Counter(f"basereward_{name}", doc, labels, registry=self.registry)

    def _histogram(
        self, name: str, doc: str, buckets: tuple[float, ...], *labels: str
    ) -> Histogram:
        return Histogram(f"basereward_{name}", doc, labels, buckets=buckets, registry=self.registry)

    def _gauge(self, name: str, doc: str, *labels: str) -> Gauge:
        return Gauge(f"basereward_{name}", doc, labels, registry=self.registry)
