"""Pods: security, resources and what they refer to."""

from tests.k8s.planted import Mistake, added, deployment, of, pod, server, text, variable, without

GPU = "resources.{}.nvidia~com/gpu"

MISTAKES = [
    # Security
    Mistake(
        "root",
        "production",
        pod("securityContext.runAsNonRoot", None),
        "must run as a user other than root",
    ),
    Mistake(
        "no seccomp", "production", pod("securityContext.seccompProfile", None), "seccompProfile"
    ),
    Mistake(
        "writable root",
        "production",
        server("securityContext.readOnlyRootFilesystem", False),
        "must be read-only",
    ),
    Mistake(
        "privileged init container",
        "download",
        pod("initContainers.0.securityContext.allowPrivilegeEscalation", True),
        "weights: allowPrivilegeEscalation",
    ),
    Mistake(
        "a capability",
        "production",
        server("securityContext.capabilities.add", ["NET_ADMIN"]),
        "must drop ALL",
    ),
    Mistake(
        "host path",
        "production",
        pod("volumes.name:tmp.hostPath", {"path": "/tmp"}),
        "type hostPath is not allowed",
    ),
    Mistake(
        "token",
        "production",
        pod("automountServiceAccountToken", None),
        "automountServiceAccountToken must be false",
    ),
    Mistake(
        "lenient namespace",
        "production",
        of("Namespace", "reward", "metadata.labels.pod-security~kubernetes~io/enforce", "baseline"),
        "must enforce",
    ),
    Mistake(
        "latest",
        "single-gpu",
        server("image", "registry.example.org/basereward-service:latest"),
        "a tag other than latest",
    ),
    Mistake(
        "no tag", "single-gpu", server("image", "basereward-service"), "a tag other than latest"
    ),
    Mistake(
        "tag in production",
        "production",
        server("image", "registry.example.org/basereward-service:0.1.0"),
        "by digest in production",
    ),
    Mistake(
        "moving weights",
        "download",
        text("WEIGHTS_REVISION", "0" * 40, "main"),
        "must be a full commit",
    ),
    Mistake(
        "weights by tag",
        "image-volume",
        pod("volumes.name:weights.image.reference", "registry.example.org/reward-weights:7b"),
        "must be named by digest",
    ),
    Mistake(
        "secret by subPath",
        "production",
        server("volumeMounts.name:api-keys.subPath", "keys.json"),
        "subPath is never renewed",
    ),
    Mistake(
        "secret in the repository",
        "production",
        added(
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": "reward-api-keys", "namespace": "reward"},
            }
        ),
        "do not stand in a repository",
    ),
    Mistake(
        "unknown account",
        "production",
        pod("serviceAccountName", "rewards"),
        "no ServiceAccount rewards",
    ),
    # Resources
    Mistake("half a GPU", "production", server(GPU.format("limits"), "0.5"), "one whole GPU"),
    Mistake("GPU limit alone", "production", server(GPU.format("requests"), None), "one whole GPU"),
    Mistake("CPU limit", "production", server("resources.limits.cpu", "4"), "no limit of it"),
    Mistake(
        "memory overcommitted",
        "production",
        server("resources.requests.memory", "8Gi"),
        "with the same limit",
    ),
    Mistake(
        "endless /tmp",
        "production",
        pod("volumes.name:tmp.emptyDir.sizeLimit", None),
        "must have a sizeLimit",
    ),
    Mistake(
        "/tmp beyond the limit",
        "production",
        server("resources.limits.ephemeral-storage", "2Gi"),
        "may hold more than its limit",
    ),
    Mistake(
        "cache on the root",
        "production",
        variable("TRITON_CACHE_DIR", "/root/.triton"),
        "TRITON_CACHE_DIR must lie under /tmp",
    ),
    Mistake(
        "GPU for the CPU", "try-cpu", server(GPU.format("limits"), 1), "takes a GPU all the same"
    ),
    Mistake(
        "writable weights",
        "production",
        server("volumeMounts.name:weights.readOnly", None),
        "mounted read-only",
    ),
    # References
    Mistake(
        "no ConfigMap",
        "production",
        lambda m: m.objects.remove(m.of("ConfigMap")[1]),
        "no ConfigMap reward-server",
    ),
    Mistake(
        "unknown Secret",
        "production",
        pod("volumes.name:api-keys.secret.secretName", "keys"),
        "neither here nor in docs/kubernetes.md",
    ),
    Mistake(
        "no claim",
        "production",
        without("PersistentVolumeClaim", "reward-weights"),
        "no PersistentVolumeClaim",
    ),
    Mistake(
        "selector",
        "production",
        deployment("spec.selector.matchLabels.app~kubernetes~io/name", "reward"),
        "does not match its pods",
    ),
    Mistake(
        "Service for nobody",
        "production",
        of("Service", "reward-server", "spec.selector", {"app": "reward-server"}),
        "matches 0 workloads",
    ),
    Mistake(
        "targetPort",
        "production",
        of("Service", "reward-server", "spec.ports.0.targetPort", "web"),
        "no container port web",
    ),
    Mistake(
        "no hash",
        "production",
        lambda m: [
            m.of("ConfigMap")[1]["metadata"].update(name="settings"),
            m.servers()[0]["spec"]["template"]["spec"]["containers"][0]["envFrom"][0][
                "configMapRef"
            ].update(name="settings"),
        ],
        "must end in its hash",
    ),
    Mistake(
        "other namespace",
        "production",
        of("Service", "reward-server", "metadata.namespace", "default"),
        "not in the namespace reward",
    ),
]
