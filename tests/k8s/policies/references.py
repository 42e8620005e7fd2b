"""What is named must be there: ConfigMaps, Secrets, claims, accounts, volumes, ports, and pods for every selector."""

import re
from collections.abc import Iterator

from tests.k8s.manifests import (
    WORKLOADS,
    Manifests,
    Object,
    containers,
    pod_labels,
    pod_spec,
    title,
)
from tests.k8s.rendering import ROOT

PAGE = ROOT / "docs" / "kubernetes.md"
CLUSTER_WIDE = ("Namespace",)


def documented_secrets() -> set[str]:
    """Those that operators make, by the commands of docs/kubernetes.md."""
    return set(re.findall(r"create secret (?:generic|tls) ([\w-]+)", PAGE.read_text("utf-8")))


def volumes_are_there(manifests: Manifests) -> Iterator[str]:
    for workload in manifests.of(*WORKLOADS):
        for volume in pod_spec(workload).get("volumes", []):
            yield from _source_is_there(manifests, workload, volume)
        known = {v["name"] for v in pod_spec(workload).get("volumes", [])}
        for container in containers(workload):
            for mount in container.get("volumeMounts", []):
                if mount["name"] not in known:
                    yield f"{title(workload)}: no volume {mount['name']}"


def _source_is_there(manifests: Manifests, workload: Object, volume: Object) -> Iterator[str]:
    config = volume.get("configMap", {}).get("name")
    claim = volume.get("persistentVolumeClaim", {}).get("claimName")
    secret = volume.get("secret", {}).get("secretName")
    if config and not manifests.get("ConfigMap", config):
        yield f"{title(workload)}: no ConfigMap {config}"
    if claim and not manifests.get("PersistentVolumeClaim", claim):
        yield f"{title(workload)}: no PersistentVolumeClaim {claim}"
    if secret and not manifests.get("Secret", secret) and secret not in documented_secrets():
        yield f"{title(workload)}: Secret {secret} is neither here nor in docs/kubernetes.md"


def variables_are_there(manifests: Manifests) -> Iterator[str]:
    for workload in manifests.of(*WORKLOADS):
        for container in containers(workload):
            for source in container.get("envFrom", []):
                name = source.get("configMapRef", {}).get("name")
                if not manifests.get("ConfigMap", name):
                    yield f"{title(workload)}: no ConfigMap {name}"
            if any("secretKeyRef" in v.get("valueFrom", {}) for v in container.get("env", [])):
                yield f"{title(workload)}: a Secret in a variable shows in the pod; mount it"


def secrets_are_renewed(manifests: Manifests) -> Iterator[str]:
    for workload in manifests.of(*WORKLOADS):
        secret = {v["name"] for v in pod_spec(workload).get("volumes", []) if "secret" in v}
        for container in containers(workload):
            for mount in container.get("volumeMounts", []):
                if mount["name"] in secret and ("subPath" in mount or not mount.get("readOnly")):
                    yield f"{title(workload)}: a Secret is mounted whole and read-only: subPath is never renewed"


def secrets_are_not_shipped(manifests: Manifests) -> Iterator[str]:
    for secret in manifests.of("Secret"):
        yield f"{title(secret)}: Secrets do not stand in a repository"


def configuration_rolls_out(manifests: Manifests) -> Iterator[str]:
    for workload in manifests.of(*WORKLOADS):
        for name in re.findall(
            r"'configMap(?:Ref)?': \{'name': '([^']+)'", str(pod_spec(workload))
        ):
            if not re.search(r"-[a-z0-9]{10}$", name):
                yield f"{title(workload)}: ConfigMap {name} must end in its hash, or a change rolls nothing out"


def accounts_are_there(manifests: Manifests) -> Iterator[str]:
    for workload in manifests.of(*WORKLOADS):
        name = pod_spec(workload).get("serviceAccountName", "default")
        if name != "default" and not manifests.get("ServiceAccount", name):
            yield f"{title(workload)}: no ServiceAccount {name}"


def selectors_match(manifests: Manifests) -> Iterator[str]:
    pods = [pod_labels(w) for w in manifests.of(*WORKLOADS)]
    for workload in manifests.of("Deployment"):
        if not workload["spec"]["selector"]["matchLabels"].items() <= pod_labels(workload).items():
            yield f"{title(workload)}: its selector does not match its pods"
    for thing in manifests.of("Service", "PodDisruptionBudget"):
        selector = thing["spec"].get("selector", {})
        labels = selector.get("matchLabels", selector)
        found = sum(labels.items() <= pod.items() for pod in pods)
        if found != 1 or not labels:
            yield f"{title(thing)}: its selector matches {found} workloads, not 1"


def service_ports_are_there(manifests: Manifests) -> Iterator[str]:
    for service in manifests.of("Service"):
        chosen = [
            w for w in manifests.of(*WORKLOADS)
            if service["spec"]["selector"].items() <= pod_labels(w).items()
        ]  # fmt: skip
        names = {p["name"] for w in chosen for c in containers(w) for p in c.get("ports", [])}
        for port in service["spec"]["ports"]:
            if port["targetPort"] not in names:
                yield f"{title(service)}: no container port {port['targetPort']}"


def services_make_no_settings(manifests: Manifests) -> Iterator[str]:
    for service in manifests.of("Service"):
        if service["metadata"]["name"].split("-")[0] == "basereward":
            yield f"{title(service)}: its service links would be BASEREWARD_ variables; name it otherwise"


def everything_is_in_the_namespace(manifests: Manifests) -> Iterator[str]:
    for thing in manifests.objects:
        if thing["kind"] not in CLUSTER_WIDE and thing["metadata"].get("namespace") != "reward":
            yield f"{title(thing)}: not in the namespace reward"


POLICIES = (
    volumes_are_there,
    variables_are_there,
    secrets_are_renewed,
    secrets_are_not_shipped,
    configuration_rolls_out,
    accounts_are_there,
    selectors_match,
    service_ports_are_there,
    services_make_no_settings,
    everything_is_in_the_namespace,
)
