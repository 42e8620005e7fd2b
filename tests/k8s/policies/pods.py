"""Pod Security `restricted`, and what goes beyond it: read-only roots, no tokens, no service links, pinned images."""

import re
from collections.abc import Iterator
from typing import Any

from tests.k8s.manifests import (
    WORKLOADS,
    Manifests,
    Object,
    containers,
    pod_spec,
    title,
)

# What `restricted` lets pods mount: https://kubernetes.io/docs/concepts/security/pod-security-standards/
VOLUMES = {
    "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "image", "persistentVolumeClaim", "projected", "secret",
}  # fmt: skip
DIGEST = re.compile(r"@sha256:[0-9a-f]{64}$")
TAG = re.compile(r":(?!latest)[\w][\w.-]*$")


def _each_container(manifests: Manifests) -> Iterator[tuple[str, Object, Object]]:
    for workload in manifests.of(*WORKLOADS):
        for container in containers(workload):
            yield f"{title(workload)}: {container['name']}", container, pod_spec(workload)


def pods_are_restricted(manifests: Manifests) -> Iterator[str]:
    for workload in manifests.of(*WORKLOADS):
        spec = pod_spec(workload)
        context = spec.get("securityContext", {})
        if context.get("runAsNonRoot") is not True or not context.get("runAsUser"):
            yield f"{title(workload)}: must run as a user other than root, by number"
        if context.get("seccompProfile", {}).get("type") != "RuntimeDefault":
            yield f"{title(workload)}: seccompProfile must be RuntimeDefault"
        for name in ("hostNetwork", "hostPID", "hostIPC"):
            if spec.get(name):
                yield f"{title(workload)}: {name} is not allowed"
        for volume in spec.get("volumes", []):
            if unknown := volume.keys() - {"name"} - VOLUMES:
                yield f"{title(workload)}: a volume of type {unknown.pop()} is not allowed"


def containers_are_restricted(manifests: Manifests) -> Iterator[str]:
    for where, container, _ in _each_container(manifests):
        context = container.get("securityContext", {})
        if context.get("allowPrivilegeEscalation") is not False:
            yield f"{where}: allowPrivilegeEscalation must be false"
        if context.get("capabilities") != {"drop": ["ALL"]}:
            yield f"{where}: must drop ALL capabilities and add none"
        if context.get("readOnlyRootFilesystem") is not True:
            yield f"{where}: the root file system must be read-only"
        if context.get("privileged") or context.get("runAsUser") == 0:
            yield f"{where}: must not be privileged or root"
        if any("hostPort" in port for port in container.get("ports", [])):
            yield f"{where}: hostPort is not allowed"


def namespaces_enforce_it(manifests: Manifests) -> Iterator[str]:
    for namespace in manifests.of("Namespace"):
        if (
            namespace["metadata"]["labels"].get("pod-security.kubernetes.io/enforce")
            != "restricted"
        ):
            yield f"{title(namespace)}: must enforce Pod Security `restricted`"


def pods_have_no_token_and_no_links(manifests: Manifests) -> Iterator[str]:
    for workload in manifests.of(*WORKLOADS):
        if pod_spec(workload).get("automountServiceAccountToken") is not False:
            yield f"{title(workload)}: automountServiceAccountToken must be false"
        if pod_spec(workload).get("enableServiceLinks") is not False:
            yield f"{title(workload)}: enableServiceLinks must be false"
    for account in manifests.of("ServiceAccount"):
        if account.get("automountServiceAccountToken") is not False:
            yield f"{title(account)}: automountServiceAccountToken must be false"


def images_are_pinned(manifests: Manifests) -> Iterator[str]:
    for where, image in _images(manifests):
        own = "basereward-service" in image or "reward-weights" in image
        if manifests.production and own and not DIGEST.search(image):
            yield f"{where}: {image} must be named by digest in production"
        elif not DIGEST.search(image) and not TAG.search(image):
            yield f"{where}: {image} must have a tag other than latest, or a digest"


def _images(manifests: Manifests) -> Iterator[tuple[str, str]]:
    for where, container, _ in _each_container(manifests):
        yield where, container.get("image", "no image")
    for workload in manifests.of(*WORKLOADS):
        for volume in pod_spec(workload).get("volumes", []):
            if "image" in volume:
                yield title(workload), volume["image"]["reference"]


def weights_are_pinned(manifests: Manifests) -> Iterator[str]:
    for config in manifests.of("ConfigMap"):
        revision = config["data"].get("WEIGHTS_REVISION")
        if revision is not None and not re.fullmatch(r"[0-9a-f]{40}", revision):
            yield f"{title(config)}: WEIGHTS_REVISION must be a full commit, not {revision}"
    for workload in manifests.of(*WORKLOADS):
        for volume in pod_spec(workload).get("volumes", []):
            reference: Any = volume.get("image", {}).get("reference", "@sha256:" + "0" * 64)
            if not DIGEST.search(reference):
                yield f"{title(workload)}: weights as an image must be named by digest"


POLICIES = (
    pods_are_restricted,
    containers_are_restricted,
    namespaces_enforce_it,
    pods_have_no_token_and_no_links,
    images_are_pinned,
    weights_are_pinned,
)
