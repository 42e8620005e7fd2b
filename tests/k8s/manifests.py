"""Rendered manifests and how to look things up in them; judges nothing."""

import copy
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Object = dict[str, Any]

WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet", "Job")
_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600}
_SIZES = {"": 1, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "k": 10**3, "M": 10**6, "G": 10**9}


@dataclass(frozen=True)
class Manifests:
    """What one overlay renders to."""

    name: str
    objects: list[Object]
    production: bool = False

    def of(self, *kinds: str) -> list[Object]:
        return [o for o in self.objects if o["kind"] in kinds]

    def get(self, kind: str, name: str) -> Object | None:
        found = [o for o in self.of(kind) if o["metadata"]["name"] == name]
        return found[0] if found else None

    def one(self, kind: str, name: str) -> Object:
        """The object that a planted mistake is made in."""
        found = self.get(kind, name)
        assert found is not None, f"{self.name} has no {kind} {name}"
        return found

    def copy(self) -> "Manifests":
        return Manifests(self.name, copy.deepcopy(self.objects), self.production)

    def servers(self) -> list[Object]:
        """The Deployments that run the reward server."""
        return [o for o in self.of("Deployment") if component(o) == "server"]


def component(workload: Object) -> str:
    labels = workload["spec"]["template"]["metadata"]["labels"]
    return str(labels.get("app.kubernetes.io/component", ""))


def title(thing: Object) -> str:
    return f"{thing['kind']} {thing['metadata']['name']}"


def pod_spec(workload: Object) -> Object:
    spec: Object = workload["spec"]["template"]["spec"]
    return spec


def pod_labels(workload: Object) -> dict[str, str]:
    labels: dict[str, str] = workload["spec"]["template"]["metadata"]["labels"]
    return labels


def containers(workload: Object) -> list[Object]:
    """Init containers too."""
    spec = pod_spec(workload)
    return [*spec.get("initContainers", []), *spec["containers"]]


def server_container(workload: Object) -> Object:
    container: Object = pod_spec(workload)["containers"][0]
    return container


def environment(manifests: Manifests, container: Object) -> dict[str, str]:
    """Literal variables, those of ConfigMaps too."""
    found: dict[str, str] = {}
    for source in container.get("envFrom", []):
        config = manifests.get("ConfigMap", source.get("configMapRef", {}).get("name", ""))
        found |= (config or {}).get("data", {})
    return found | {v["name"]: v["value"] for v in container.get("env", []) if "value" in v}


def seconds(duration: str) -> float:
    """`660s`, `1h30m`; a bare number counts as seconds."""
    parts = re.findall(r"(\d+(?:\.\d+)?)(ms|s|m|h)", duration)
    return sum(float(n) * _UNITS[unit] for n, unit in parts) if parts else float(duration)


def size(quantity: str | int) -> float:
    number, unit = re.fullmatch(r"([\d.]+)([A-Za-z]*)", str(quantity)).groups()  # type: ignore[union-attr]
    return float(number) * _SIZES[unit]


def strings(value: Any) -> Iterator[str]:
    """Every string anywhere in it."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from strings(item)


def is_within(path: str, folder: str) -> bool:
    return Path(path).is_relative_to(folder)
