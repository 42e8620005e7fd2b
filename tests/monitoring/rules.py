"""The shipped rules and their promtool tests, read."""

from functools import cache
from pathlib import Path
from typing import Any

import yaml

MONITORING = Path(__file__).parents[2] / "monitoring"
RULES = MONITORING / "rules"
TESTS = MONITORING / "tests"

DCGM = frozenset({"gpu", "Hostname", "exported_namespace", "exported_pod"})
# What others show: its labels. Everything else must be on the server's own page, or recorded by a rule.
FOREIGN = {
    "up": frozenset[str](),
    "DCGM_FI_DEV_XID_ERRORS": DCGM,
    "DCGM_FI_DEV_GPU_UTIL": DCGM,
    "kube_pod_container_status_restarts_total": frozenset({"container"}),
    "kube_deployment_spec_replicas": frozenset({"deployment"}),
    "kube_deployment_status_replicas_ready": frozenset({"deployment"}),
}


@cache
def rules() -> list[dict[str, Any]]:
    files = sorted(RULES.glob("*.yaml"))
    assert files
    groups = [group for file in files for group in yaml.safe_load(file.read_text())["groups"]]
    assert len({group["name"] for group in groups}) == len(groups)
    return [rule for group in groups for rule in group["rules"]]


def alerts() -> list[dict[str, Any]]:
    return [rule for rule in rules() if "alert" in rule]


def recorded() -> dict[str, frozenset[str]]:
    """Recorded metrics and their labels: those of the level in the name, and those the rule adds."""
    labels: dict[str, frozenset[str]] = {}
    for rule in rules():
        if "record" in rule:
            level = rule["record"].partition(":")[0].split("_")
            labels[rule["record"]] = frozenset(level)
    return labels


@cache
def cases() -> list[dict[str, Any]]:
    """The test groups of all promtool tests."""
    files = sorted(TESTS.glob("*.yaml"))
    return [case for file in files for case in yaml.safe_load(file.read_text())["tests"]]
