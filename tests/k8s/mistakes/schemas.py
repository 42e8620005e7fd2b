"""What schemas find: misspelt fields, wrong types, unknown kinds."""

from tests.k8s.planted import Mistake, added, deployment, of, pod, server

RULE = "spec.rules.0"
KEDA = ("ScaledObject", "reward-server")
ROUTE = ("HTTPRoute", "reward-server")
BACKEND = ("BackendTrafficPolicy", "reward-server")

MISTAKES = [
    Mistake(
        "misspelt field",
        "single-gpu",
        pod("terminationGracePeriodSecond", 60),
        "terminationGracePeriodSecond",
    ),
    Mistake(
        "wrong type",
        "single-gpu",
        deployment("spec.progressDeadlineSeconds", "1500s"),
        "progressDeadlineSeconds",
    ),
    Mistake(
        "misspelt probe",
        "single-gpu",
        server("livenessProbe.failureTreshold", 3),
        "failureTreshold",
    ),
    Mistake(
        "kind without a schema",
        "single-gpu",
        added({"apiVersion": "example.org/v1", "kind": "Gadget", "metadata": {"name": "x"}}),
        "no schema for this kind",
    ),
    Mistake(
        "core kind without a schema",
        "single-gpu",
        added({"apiVersion": "apps/v1", "kind": "Deploymint", "metadata": {"name": "x"}}),
        "no schema for this kind",
    ),
    Mistake(
        "misspelt field of KEDA",
        "production",
        of(*KEDA, "spec.minReplicasCount", 2),
        "minReplicasCount",
    ),
    Mistake(
        "wrong type of KEDA",
        "production",
        of(*KEDA, "spec.minReplicaCount", "2"),
        "minReplicaCount must be integer",
    ),
    Mistake(
        "misspelt field of a route",
        "production",
        of(*ROUTE, f"{RULE}.timeouts.requests", "660s"),
        "requests",
    ),
    Mistake(
        "malformed duration",
        "production",
        of(*ROUTE, f"{RULE}.timeouts.request", "11 minutes"),
        "must match pattern",
    ),
    Mistake(
        "misspelt trigger",
        "production",
        of(*BACKEND, "spec.retry.retryOn.triggers.0", "connection-failure"),
        "triggers",
    ),
    Mistake(
        "misspelt endpoint",
        "production",
        of("ServiceMonitor", "reward-server", "spec.endpoints.0.intervall", "15s"),
        "intervall",
    ),
    Mistake(
        "misspelt rule",
        "production",
        of("PrometheusRule", "reward-server", "spec.groups.0.rules.0.labls", {}),
        "labls",
    ),
    Mistake(
        "misspelt field of Istio",
        "istio",
        of("DestinationRule", "reward-server", "spec.trafficPolicy.conectionPool", {}),
        "conectionPool",
    ),
]
