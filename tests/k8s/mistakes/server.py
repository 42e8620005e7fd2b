"""The server's own contract: how it starts and ends, and its settings."""

from tests.k8s.planted import Mistake, deployment, of, pod, server, variable, without

MISTAKES = [
    # The end and the start of a pod
    Mistake(
        "grace equals its parts",
        "single-gpu",
        pod("terminationGracePeriodSeconds", 45),
        "must exceed preStop 10 . drain 30 . 5",
    ),
    Mistake(
        "longer drain",
        "production",
        variable("BASEREWARD_DRAIN_S", "60"),
        "terminationGracePeriodSeconds 60 must exceed",
    ),
    Mistake("no preStop", "production", server("lifecycle", None), "preStop must sleep"),
    Mistake(
        "liveness on readyz",
        "production",
        server("livenessProbe.httpGet.path", "/readyz"),
        "livenessProbe must ask /livez",
    ),
    Mistake(
        "readiness on livez",
        "production",
        server("readinessProbe.httpGet.path", "/livez"),
        "readinessProbe must ask /readyz",
    ),
    Mistake(
        "probe on the public port",
        "production",
        server("readinessProbe.httpGet.port", "http"),
        "readinessProbe must ask the ops port",
    ),
    Mistake(
        "a minute to load",
        "production",
        server("startupProbe.failureThreshold", 12),
        "must give 1200 s to load",
    ),
    Mistake(
        "nervous liveness",
        "production",
        server("livenessProbe.failureThreshold", 1),
        "before it kills",
    ),
    Mistake(
        "early deadline",
        "production",
        deployment("spec.progressDeadlineSeconds", 600),
        "less than the startup probe gives",
    ),
    Mistake(
        "no time to download",
        "download",
        deployment("spec.progressDeadlineSeconds", 1500),
        "an hour of download",
    ),
    # Settings
    Mistake(
        "misspelt setting",
        "production",
        variable("BASEREWARD_DRAIN", "30"),
        "unknown setting 'drain'",
    ),
    Mistake(
        "malformed setting", "production", variable("BASEREWARD_PORT", "http"), "setting 'port'"
    ),
    Mistake("loopback", "production", variable("BASEREWARD_HOST", None), "must be 0.0.0.0"),
    Mistake(
        "silent CPU",
        "production",
        variable("BASEREWARD_DEVICE", None),
        "BASEREWARD_DEVICE must be said",
    ),
    Mistake(
        "key in a variable",
        "production",
        variable("BASEREWARD_API_KEY", "s3cret"),
        "keys belong into a file",
    ),
    Mistake(
        "online server", "production", variable("HF_HUB_OFFLINE", "0"), "HF_HUB_OFFLINE must be 1"
    ),
    Mistake(
        "other port",
        "production",
        variable("BASEREWARD_OPS_PORT", "9090"),
        "port ops must be BASEREWARD_OPS_PORT",
    ),
    Mistake(
        "service links",
        "production",
        pod("enableServiceLinks", True),
        "enableServiceLinks must be false",
    ),
    Mistake(
        "Service basereward",
        "production",
        of("Service", "reward-server", "metadata.name", "basereward"),
        "service links would be BASEREWARD_ variables",
    ),
    # Rollouts and drains
    Mistake(
        "stuck rollout",
        "production",
        deployment("spec.strategy.rollingUpdate.maxSurge", 0),
        "a rollout either adds one pod",
    ),
    Mistake(
        "stuck drain",
        "production",
        of("PodDisruptionBudget", "reward-server", "spec.maxUnavailable", 0),
        "holds every drain",
    ),
    Mistake(
        "minAvailable",
        "single-gpu",
        of("PodDisruptionBudget", "reward-server", "spec.minAvailable", 1),
        "holds every drain",
    ),
    Mistake(
        "no budget",
        "production",
        without("PodDisruptionBudget", "reward-server"),
        "no PodDisruptionBudget",
    ),
    Mistake(
        "all on one node",
        "production",
        pod("topologySpreadConstraints", None),
        "must spread over nodes",
    ),
]
