"""The rows about what callers get: objectives and traffic."""

from monitoring.board.panel import Panel, Query, Row
from monitoring.board.promql import NAMESPACE, POD, quantile, rate

SCORE = f'{POD},route=~"/score|/v1/score"'
AVAILABILITY_BUDGET = "0.001"
LATENCY_BUDGET = "0.01"
LATENCY_OBJECTIVE_S = 30
PAGE_BURN = 14.4  # times the budget, over an hour


def _left(what: str, budget: str) -> Query:
    return Query(f"1 - namespace:basereward_{what}:ratio30d{{{NAMESPACE}}} / {budget}")


def _good(what: str) -> Query:
    return Query(f"1 - namespace:basereward_{what}:ratio30d{{{NAMESPACE}}}")


def _burn(what: str, budget: str) -> tuple[Query, ...]:
    series = f"namespace:basereward_{what}:ratio"
    return tuple(
        Query(f"{series}{w}{{{NAMESPACE}}} / {budget}", f"{{{{namespace}}}} {w}")
        for w in ("5m", "1h", "6h", "3d")
    )


OBJECTIVES = Row(
    "Objectives",
    (
        Panel(
            "Availability, 30 days",
            "Share of scoring requests that were neither turned away nor failed on our side. Objective: 99.9 %.",
            "percentunit",
            (_good("unavailable"),),
            "stat",
            width=6,
            height=4,
            red_from=0.999,
            good_high=True,
        ),
        Panel(
            "Availability budget left",
            "What is left of the 0.1 % of 30 days. Below 0 the objective is missed.",
            "percentunit",
            (_left("unavailable", AVAILABILITY_BUDGET),),
            "stat",
            width=6,
            height=4,
            red_from=0.1,
            good_high=True,
        ),
        Panel(
            "Within 30 s, 30 days",
            "Share of the requests to /score that were answered within 30 s. Objective: 99 %.",
            "percentunit",
            (_good("slow"),),
            "stat",
            width=6,
            height=4,
            red_from=0.99,
            good_high=True,
        ),
        Panel(
            "Latency budget left",
            "What is left of the 1 % of 30 days. Below 0 the objective is missed.",
            "percentunit",
            (_left("slow", LATENCY_BUDGET),),
            "stat",
            width=6,
            height=4,
            red_from=0.1,
            good_high=True,
        ),
        Panel(
            "/score: how long",
            "Whole requests to /score, upload included, beside the objective's threshold.",
            "s",
            (
                Query(quantile(0.5, "basereward_request_duration_seconds", SCORE), "p50"),
                Query(quantile(0.95, "basereward_request_duration_seconds", SCORE), "p95"),
                Query(quantile(0.99, "basereward_request_duration_seconds", SCORE), "p99"),
                Query(f"vector({LATENCY_OBJECTIVE_S})", "objective of p99"),
            ),
        ),
        Panel(
            "Availability: how fast the budget burns",
            "1 spends the budget in exactly 30 days; AvailabilityBurnsFast pages at 14.4 over 1 h and 6 over 6 h.",
            "none",
            _burn("unavailable", AVAILABILITY_BUDGET),
            red_from=PAGE_BURN,
        ),
        Panel(
            "Latency: how fast the budget burns",
            "1 spends the budget in exactly 30 days; LatencyBurnsFast pages at 14.4 over 1 h and 6 over 6 h.",
            "none",
            _burn("slow", LATENCY_BUDGET),
            red_from=PAGE_BURN,
        ),
    ),
)

TRAFFIC = Row(
    "Traffic",
    (
        Panel(
            "Requests by route",
            "Every HTTP request. Probes and unknown paths are `other`.",
            "reqps",
            (Query(f"{rate('basereward_requests_total', 'route')} > 0", "{{route}}"),),
            stacked=True,
        ),
        Panel(
            "Requests by what became of them",
            "shed: overloaded, beyond a quota, not ready, draining. timeout: 408 and 504. error: other 5xx.",
            "reqps",
            (Query(rate("basereward_requests_total", "status"), "{{status}}"),),
            stacked=True,
        ),
        Panel(
            "Refusals by reason",
            "API error codes of refused requests, and of failed responses in answered ones.",
            "ops",
            (Query(f"{rate('basereward_rejections_total', 'reason')} > 0", "{{reason}}"),),
            stacked=True,
        ),
        Panel(
            "Responses by outcome",
            "Single responses. failed is our fault, rejected the caller's.",
            "ops",
            (Query(rate("basereward_items_total", "outcome"), "{{outcome}}"),),
            width=12,
            stacked=True,
        ),
        Panel(
            "Requests being answered",
            "In flight, every route, by pod: whether the load is spread evenly.",
            "none",
            (Query(f"basereward_inflight_requests{{{POD}}}", "{{pod}}"),),
            width=12,
        ),
    ),
)
