"""Autoscalers: who owns the number of replicas, by what signal, and how slowly it goes down."""

import re
from collections.abc import Iterator
from typing import Any

import promql_parser

from tests.k8s.manifests import Manifests, Object, title
from tests.k8s.rendering import ROOT

LONGEST_STEP_S = 1200  # of training, during which no rollouts come; docs/kubernetes.md says so
METRICS = ROOT / "docs" / "metrics.md"


def metric_names() -> set[str]:
    return set(re.findall(r"`(basereward_\w+)`", METRICS.read_text("utf-8")))


def _scalers(manifests: Manifests) -> Iterator[tuple[Object, Object, int, int, Object]]:
    """Each autoscaler, its target, its least and most, and its behaviour."""
    for scaler in manifests.of("HorizontalPodAutoscaler"):
        spec = scaler["spec"]
        least, most = spec["minReplicas"], spec["maxReplicas"]
        yield scaler, spec["scaleTargetRef"], least, most, spec.get("behavior", {})
    for scaler in manifests.of("ScaledObject"):
        spec = scaler["spec"]
        config = spec.get("advanced", {}).get("horizontalPodAutoscalerConfig", {})
        least, most = spec["minReplicaCount"], spec["maxReplicaCount"]
        yield scaler, spec["scaleTargetRef"], least, most, config.get("behavior", {})


def one_owner_of_replicas(manifests: Manifests) -> Iterator[str]:
    targets: dict[str, int] = {}
    for scaler, target, least, most, _ in _scalers(manifests):
        workload = manifests.get(target["kind"], target["name"])
        if workload is None:
            yield f"{title(scaler)}: no {target['kind']} {target['name']}"
        elif "replicas" in workload["spec"]:
            yield f"{title(workload)}: has an autoscaler, so it must not say replicas"
        if not 1 <= least <= most:
            yield f"{title(scaler)}: 1 <= least <= most replicas"
        targets[target["name"]] = targets.get(target["name"], 0) + 1
    yield from (f"Deployment {name}: two autoscalers" for name, n in targets.items() if n > 1)


def scaling_down_is_slow(manifests: Manifests) -> Iterator[str]:
    for scaler, _, _, _, behavior in _scalers(manifests):
        down = behavior.get("scaleDown", {})
        if down.get("stabilizationWindowSeconds", 300) <= LONGEST_STEP_S:
            yield f"{title(scaler)}: the scale-down window must exceed a training step of {LONGEST_STEP_S} s"
        if not down.get("policies") or not behavior.get("scaleUp", {}).get("policies"):
            yield f"{title(scaler)}: must say how many pods may come and go at once"


def hpa_asks_for_a_metric_of_ours(manifests: Manifests) -> Iterator[str]:
    for scaler in manifests.of("HorizontalPodAutoscaler"):
        for metric in scaler["spec"]["metrics"]:
            name = metric.get("pods", {}).get("metric", {}).get("name")
            if name not in metric_names():
                yield f"{title(scaler)}: {name} is no metric of docs/metrics.md by pod"


def keda_asks_prometheus_well(manifests: Manifests) -> Iterator[str]:
    for scaler in manifests.of("ScaledObject"):
        if "fallback" not in scaler["spec"]:
            yield f"{title(scaler)}: no fallback for a Prometheus that is away"
        for trigger in scaler["spec"]["triggers"]:
            if trigger.get("metricType") != "AverageValue":
                yield f"{title(scaler)}: metricType must be AverageValue, the only one with a fallback"
            if trigger["metadata"].get("ignoreNullValues") != "false":
                yield f'{title(scaler)}: ignoreNullValues must be "false": no series is not no load'
            yield from _query_is_ours(scaler, trigger["metadata"])


def _query_is_ours(scaler: Object, metadata: Object) -> Iterator[str]:
    query = metadata["query"]
    try:
        promql_parser.parse(query)
    except ValueError as error:
        yield f"{title(scaler)}: {error}"
        return
    if not set(re.findall(r"basereward_\w+", query)) & metric_names():
        yield f"{title(scaler)}: its query has no metric of docs/metrics.md"
    pods = re.search(r'pod=~"([^"]+)"', query)
    name = scaler["spec"]["scaleTargetRef"]["name"]
    if f'namespace="{scaler["metadata"]["namespace"]}"' not in query:
        yield f"{title(scaler)}: its query must be of its namespace"
    if pods is None or not re.fullmatch(pods[1], f"{name}-5d9c7b8f4-x2x7q"):
        yield f"{title(scaler)}: its query must be of its pods"


def adapter_faults(values: Any, hpa: Object) -> Iterator[str]:
    """Of prometheus-adapter's values, which no cluster object holds."""
    (rule,) = values["rules"]["custom"]
    wanted = hpa["spec"]["metrics"][0]["pods"]["metric"]["name"]
    if rule["name"]["as"] != wanted or not rule["seriesQuery"].startswith(wanted + "{"):
        yield f"the adapter does not give {wanted}"
    if rule["resources"]["overrides"].keys() != {"namespace", "pod"}:
        yield "the adapter must group by namespace and pod"
    filled = (
        rule["metricsQuery"]
        .replace("<<.Series>>", wanted)
        .replace("<<.LabelMatchers>>", 'namespace="reward",pod=~"a|b"')
        .replace("<<.GroupBy>>", "pod")
    )
    for query in (rule["seriesQuery"], filled):
        try:
            promql_parser.parse(query)
        except ValueError as error:
            yield f"{query}: {error}"


POLICIES = (
    one_owner_of_replicas,
    scaling_down_is_slow,
    hpa_asks_for_a_metric_of_ours,
    keda_asks_prometheus_well,
)
