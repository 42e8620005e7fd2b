"""The rows about where the time goes and how steps are filled."""

from monitoring.board.panel import Panel, Query, Row
from monitoring.board.promql import NAMESPACE, POD, mean, rate

LATENCY = Row(
    "Where the time goes",
    (
        Panel(
            "Mean by stage, stacked",
            "prepare and queue are means a request, assembly and forward means a step. Large requests take many.",
            "s",
            (
                Query(mean("basereward_prepare_seconds"), "prepare"),
                Query(mean("basereward_queue_wait_seconds"), "queue"),
                Query(mean("basereward_batch_assembly_seconds"), "assembly"),
                Query(mean("basereward_forward_seconds"), "forward"),
            ),
            width=12,
            stacked=True,
        ),
        Panel(
            "p99 by stage",
            "Not stacked: 99th percentiles do not add up.",
            "s",
            (
                Query(
                    f"max by (stage) (namespace_stage:basereward_seconds:p99_5m{{{NAMESPACE}}})",
                    "{{stage}}",
                ),
            ),
            width=12,
        ),
        Panel(
            "Waiting responses",
            "Responses waiting for a step, by pod.",
            "none",
            (Query(f"basereward_queue_depth{{{POD}}}", "{{pod}}"),),
        ),
        Panel(
            "Age of the oldest",
            "How long the oldest waiting group has waited. It only rises where nothing is finished: QueueStalled.",
            "s",
            (Query(f"basereward_oldest_queued_age_seconds{{{POD}}}", "{{pod}}"),),
            red_from=60,
        ),
        Panel(
            "Backlog",
            "Predicted time until all that was accepted is scored; what admission compares with deadlines.",
            "s",
            (Query(f"basereward_backlog_seconds{{{POD}}}", "{{pod}}"),),
        ),
    ),
)

STEPS = Row(
    "Steps",
    (
        Panel(
            "Rewards a second",
            "Responses scored, by pod.",
            "ops",
            (Query(rate("basereward_items_total", "pod", f'{POD},outcome="scored"'), "{{pod}}"),),
            width=6,
            stacked=True,
        ),
        Panel(
            "Tokens a second",
            "Tokens of answered requests; the context counts for every response of a group.",
            "ops",
            (Query(rate("basereward_tokens_total", "kind"), "{{kind}}"),),
            width=6,
            stacked=True,
        ),
        Panel(
            "Responses a step",
            "Mean batch size. Near 1 while many wait: the token budget, or requests that share nothing.",
            "none",
            (Query(mean("basereward_batch_size"), "mean"),),
            width=6,
        ),
        Panel(
            "How steps are filled",
            "Steps by number of responses.",
            "none",
            (Query(rate("basereward_batch_size_bucket", "le"), "{{le}}"),),
            "heatmap",
            width=6,
        ),
        Panel(
            "Shared and padding",
            "shared: of all tokens, those that siblings, caches or duplicates spared. padding: of the computed ones.",
            "percentunit",
            (
                Query(
                    f"{rate('basereward_shared_tokens_total')} / {rate('basereward_tokens_total')}",
                    "shared",
                ),
                Query(
                    f"{rate('basereward_padding_tokens_total')} / {rate('basereward_batch_tokens_sum')}",
                    "padding",
                ),
            ),
            width=6,
        ),
        Panel(
            "Token budget of a step",
            "Tokens a step may have. A fall means that a step ran out of device memory: OutOfMemory.",
            "none",
            (Query(f"basereward_step_token_budget{{{POD}}}", "{{pod}}"),),
            width=6,
        ),
        Panel(
            "Failed steps",
            "Steps that failed, by why. Their responses are scored one by one.",
            "ops",
            (Query(rate("basereward_failed_steps_total", "kind"), "{{kind}}"),),
            width=6,
        ),
        Panel(
            "Pictures kept",
            "Share of the pictures that did not have to be decoded again.",
            "percentunit",
            (
                Query(
                    f"{rate('basereward_picture_cache_hits_total')} / ({rate('basereward_picture_cache_hits_total')}"
                    f" + {rate('basereward_picture_cache_misses_total')})",
                    "kept",
                ),
            ),
            width=6,
        ),
    ),
)
