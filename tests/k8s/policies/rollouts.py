"""Replacing and evicting pods: rollouts that can move, and disruption budgets that let nodes drain."""

from collections.abc import Iterator

from tests.k8s.manifests import Manifests, containers, pod_labels, title
from tests.k8s.policies.server import startup_budget


def rollouts_can_move(manifests: Manifests) -> Iterator[str]:
    for workload in manifests.servers():
        strategy = workload["spec"].get("strategy", {}).get("rollingUpdate", {})
        surge, missing = (strategy.get(k) for k in ("maxSurge", "maxUnavailable"))
        if (surge, missing) not in ((1, 0), (0, 1)):
            yield f"{title(workload)}: a rollout either adds one pod (1/0) or takes one (0/1), not {surge}/{missing}"


def rollouts_wait_for_the_load(manifests: Manifests) -> Iterator[str]:
    for workload in manifests.servers():
        deadline = workload["spec"].get("progressDeadlineSeconds", 600)
        if deadline < startup_budget(workload):
            yield f"{title(workload)}: progressDeadlineSeconds {deadline} is less than the startup probe gives"
        if len(containers(workload)) > 1 and deadline < startup_budget(workload) + 3600:
            yield f"{title(workload)}: progressDeadlineSeconds must hold an hour of download too"
        if "revisionHistoryLimit" not in workload["spec"]:
            yield f"{title(workload)}: revisionHistoryLimit must be said: it is what a rollback has"


def budgets_let_nodes_drain(manifests: Manifests) -> Iterator[str]:
    for budget in manifests.of("PodDisruptionBudget"):
        spec = budget["spec"]
        if spec.get("maxUnavailable") in (None, 0, "0", "0%") or "minAvailable" in spec:
            yield f"{title(budget)}: maxUnavailable of 1 or more, or one replica holds every drain"
        if spec.get("unhealthyPodEvictionPolicy") != "AlwaysAllow":
            yield f"{title(budget)}: unhealthyPodEvictionPolicy must be AlwaysAllow"


def servers_have_a_budget(manifests: Manifests) -> Iterator[str]:
    budgets = [b["spec"]["selector"]["matchLabels"] for b in manifests.of("PodDisruptionBudget")]
    for workload in manifests.servers():
        if not any(b.items() <= pod_labels(workload).items() for b in budgets):
            yield f"{title(workload)}: no PodDisruptionBudget"


def replicas_spread(manifests: Manifests) -> Iterator[str]:
    for workload in manifests.servers():
        spread = workload["spec"]["template"]["spec"].get("topologySpreadConstraints", [])
        if not spread or spread[0].get("matchLabelKeys") != ["pod-template-hash"]:
            yield f"{title(workload)}: must spread over nodes, each rollout's pods among themselves"
        elif not spread[0]["labelSelector"]["matchLabels"].items() <= pod_labels(workload).items():
            yield f"{title(workload)}: its topologySpreadConstraints count other pods"


POLICIES = (
    rollouts_can_move,
    rollouts_wait_for_the_load,
    budgets_let_nodes_drain,
    servers_have_a_budget,
    replicas_spread,
)
