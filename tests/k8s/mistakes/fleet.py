"""Scaling, the network and colours."""

from tests.k8s.planted import Mistake, deployment, of, variable, without

RULE = "spec.rules.0"
HPA = ("HorizontalPodAutoscaler", "reward-server")
KEDA = ("ScaledObject", "reward-server")
ROUTE = ("HTTPRoute", "reward-server")
INGRESS = ("NetworkPolicy", "reward-server")
HTTPS = ("NetworkPolicy", "reward-server-https")
ANYWHERE = [{"ports": [{"port": 443}], "to": [{"ipBlock": {"cidr": "0.0.0.0/0"}}]}]

MISTAKES = [
    # Scaling
    Mistake("two owners", "production", deployment("spec.replicas", 3), "must not say replicas"),
    Mistake(
        "quick scale-down",
        "download",
        of(*HPA, "spec.behavior.scaleDown.stabilizationWindowSeconds", 300),
        "must exceed a training step",
    ),
    Mistake(
        "quick scale-down of KEDA",
        "production",
        of(*KEDA, "spec.advanced", None),
        "must exceed a training step",
    ),
    Mistake(
        "no such metric",
        "download",
        of(*HPA, "spec.metrics.0.pods.metric.name", "basereward_backlog"),
        "no metric of docs/metrics.md",
    ),
    Mistake(
        "no series, no load",
        "production",
        of(*KEDA, "spec.triggers.0.metadata.ignoreNullValues", "true"),
        "no series is not no load",
    ),
    Mistake(
        "query of all namespaces",
        "production",
        of(
            *KEDA,
            "spec.triggers.0.metadata.query",
            'sum(basereward_backlog_seconds{pod=~"reward-server-.+"})',
        ),
        "must be of its namespace",
    ),
    Mistake(
        "no PromQL",
        "production",
        of(*KEDA, "spec.triggers.0.metadata.query", "sum(basereward_backlog_seconds{"),
        "ScaledObject reward-server: ",
    ),
    Mistake("to zero", "production", of(*KEDA, "spec.minReplicaCount", 0), "1 <= least"),
    Mistake("no fallback", "production", of(*KEDA, "spec.fallback", None), "no fallback"),
    # The network
    Mistake(
        "no scrape", "production", of(*INGRESS, "spec.ingress.1", None), "lets monitoring scrape"
    ),
    Mistake(
        "gateway shut out",
        "haproxy",
        of(*INGRESS, "spec.ingress.0.from.2", None),
        "lets the gateway beside it in",
    ),
    Mistake(
        "everyone in", "production", of(*INGRESS, "spec.ingress.0.from", None), "lets everyone in"
    ),
    Mistake(
        "clients at the ops port",
        "production",
        of(
            *INGRESS,
            "spec.ingress.1.from.0.namespaceSelector.matchLabels",
            {"reward-client": "true"},
        ),
        "not for clients",
    ),
    Mistake(
        "out to anywhere", "production", of(*INGRESS, "spec.egress.0", {}), "lets it go anywhere"
    ),
    Mistake(
        "metadata of the node",
        "download",
        of(*HTTPS, "spec.egress", ANYWHERE),
        "reach 169.254.169.254",
    ),
    Mistake(
        "no names",
        "download",
        of(*HTTPS, "spec.egress.0", None),
        "reward-server-https: must let its pods ask kube-dns",
    ),
    Mistake(
        "no names from the node",
        "fill-weights",
        of("NetworkPolicy", "fill-weights", "spec.egress.0.to.1", None),
        "must let its pods ask node-local-dns",
    ),
    Mistake("download shut in", "download", without(*HTTPS), "no NetworkPolicy lets them"),
    Mistake(
        "scrape of the public port",
        "production",
        of("ServiceMonitor", "reward-server", "spec.endpoints.0.port", "http"),
        "metrics are at /metrics of the ops port",
    ),
    Mistake(
        "scrape of nothing",
        "production",
        of("ServiceMonitor", "reward-server", "spec.selector.matchLabels", {"app": "reward"}),
        "finds 0 Services",
    ),
    # Colours
    Mistake(
        "one fingerprint for both",
        "blue-green",
        lambda m: m.one(*ROUTE)["spec"]["rules"].__setitem__(1, m.one(*ROUTE)["spec"]["rules"][0]),
        "the same fingerprint",
    ),
    Mistake(
        "fingerprint by header alone",
        "blue-green",
        of(*ROUTE, f"{RULE}.matches.2", None),
        "by header and parameter",
    ),
    Mistake(
        "short fingerprint",
        "blue-green",
        of(*ROUTE, f"{RULE}.matches.0.headers.0.value", "sha256:1111"),
        "one fingerprint",
    ),
    Mistake(
        "no default",
        "blue-green",
        of(*ROUTE, "spec.rules.2.matches", [{"path": {"value": "/score"}}]),
        "lead nowhere",
    ),
    Mistake(
        "active nobody",
        "blue-green",
        of(*ROUTE, "spec.rules.2.backendRefs.0.name", "reward-server"),
        "must be one of them",
    ),
    Mistake(
        "one model name",
        "blue-green",
        variable("BASEREWARD_MODEL_NAME", "basereward-green"),
        "MixedFingerprints",
    ),
]
