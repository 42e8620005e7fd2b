"""The row about the rewards: what is given, whether it is right, and the signs of hacking by run."""

from monitoring.board.panel import Panel, Query, Row
from monitoring.board.promql import POD, RUN, quantile, rate

REWARDS = Row(
    "Rewards",
    (
        Panel(
            "Distribution",
            "Rewards given, before any transform. It shifts in every run that learns: by itself no fault.",
            "none",
            (Query(rate("basereward_reward_bucket", "le"), "{{le}}"),),
            "heatmap",
        ),
        Panel(
            "Quartiles",
            "Where the middle half of the rewards lies.",
            "none",
            tuple(
                Query(quantile(q, "basereward_reward"), f"{q:.0%}".replace("%", " %"))
                for q in (0.25, 0.5, 0.75)
            ),
        ),
        Panel(
            "No finite number",
            "Scores that were NaN or infinite, in the last hour. Any is one too many: NonFiniteReward.",
            "none",
            (Query(f"sum(increase(basereward_nonfinite_rewards_total{{{POD}}}[1h]))"),),
            "stat",
            width=4,
            red_from=1,
        ),
        Panel(
            "Golden checks",
            "Checks of the golden scores in the last hour, by outcome.",
            "none",
            (
                Query(
                    f"sum by (outcome) (increase(basereward_golden_checks_total{{{POD}}}[1h]))",
                    "{{outcome}}",
                ),
            ),
            "stat",
            width=4,
        ),
        Panel(
            "Golden scores: difference and tolerance",
            "Largest difference from a golden score in the last check, and what is allowed: GoldenDrift.",
            "none",
            (
                Query(f"basereward_golden_worst_difference{{{POD}}}", "{{pod}}"),
                Query(f"min(basereward_golden_tolerance{{{POD}}})", "allowed"),
            ),
            width=6,
        ),
        Panel(
            "Spread within groups, by run",
            "Mean standard deviation of the rewards of a group. At 0 no gradient is left: RunSpreadCollapsed.",
            "none",
            (
                Query(
                    f"namespace_tenant_run:basereward_group_spread:avg{{{RUN}}}",
                    "{{tenant}} {{run}}",
                ),
            ),
            width=6,
        ),
        Panel(
            "Tied siblings, by run",
            "Share of sibling pairs with equal rewards: RunRewardsTied.",
            "percentunit",
            (
                Query(
                    f"namespace_tenant_run:basereward_tied_share:avg{{{RUN}}}",
                    "{{tenant}} {{run}}",
                ),
            ),
            width=6,
            red_from=0.5,
        ),
        Panel(
            "Reward and length, by run",
            "Correlation of reward and response length within groups, -1 to 1: RunRewardFollowsLength.",
            "none",
            (
                Query(
                    f"namespace_tenant_run:basereward_reward_length_correlation:avg{{{RUN}}}",
                    "{{tenant}} {{run}}",
                ),
            ),
            width=6,
            red_from=0.7,
        ),
    ),
)
