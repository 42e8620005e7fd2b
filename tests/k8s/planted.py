"""Mistakes that someone could make in the manifests, and what the check must say of each; no test."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.k8s.manifests import Manifests, Object, pod_spec, server_container

Change = Callable[[Manifests], None]


@dataclass(frozen=True)
class Mistake:
    name: str
    where: str  # the rendered folder it is planted in
    make: Change
    said: str


def of(kind: str, name: str, path: str, value: Any) -> Change:
    """Sets what the dotted path leads to in one object (see `put`); None takes it out."""

    def change(manifests: Manifests) -> None:
        put(manifests.one(kind, name), path, value)

    return change


def deployment(path: str, value: Any) -> Change:
    return lambda m: put(m.servers()[0], path, value)


def pod(path: str, value: Any) -> Change:
    return lambda m: put(pod_spec(m.servers()[0]), path, value)


def server(path: str, value: Any) -> Change:
    return lambda m: put(server_container(m.servers()[0]), path, value)


def variable(name: str, value: str | None) -> Change:
    """In the ConfigMap that the server's container reads."""

    def change(manifests: Manifests) -> None:
        source = server_container(manifests.servers()[0])["envFrom"][0]["configMapRef"]["name"]
        put(manifests.one("ConfigMap", source)["data"], name, value)

    return change


def text(file: str, old: str, new: str) -> Change:
    """In a file that a ConfigMap holds."""

    def change(manifests: Manifests) -> None:
        (config,) = [c for c in manifests.of("ConfigMap") if file in c["data"]]
        assert old in config["data"][file], f"{file} has no {old!r}"
        config["data"][file] = config["data"][file].replace(old, new)

    return change


def put(thing: Any, path: str, value: Any) -> None:
    """A step is a key, a place in a list, or `name:NAME` of one of a list's items; `~` stands for a dot in a key."""
    *way, last = [step.replace("~", ".") for step in path.split(".")]
    for step in way:
        thing = (
            thing.setdefault(step, {}) if isinstance(thing, dict) else thing[_place(thing, step)]
        )
    at = last if isinstance(thing, dict) else _place(thing, last)
    if value is None:
        del thing[at]
    else:
        thing[at] = value


def _place(items: list[Any], step: str) -> int:
    if step.isdigit():
        return int(step)
    return [item["name"] for item in items].index(step.removeprefix("name:"))


def without(kind: str, name: str) -> Change:
    return lambda m: m.objects.remove(m.one(kind, name))


def added(thing: Object) -> Change:
    return lambda m: m.objects.append(thing)
