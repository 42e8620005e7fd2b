"""Holds objects to the schemas of their kinds: Kubernetes' own, and those of the operators whose kinds we use."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import kubernetes_validate

from tests.k8s.manifests import Manifests, Object, title
from tests.k8s.rendering import ROOT

KUBERNETES = "1.36"
FOLDER = ROOT / ".venv-k8s"
SCRIPT = Path(__file__).with_name("crds.mjs")


def is_core(thing: Object) -> bool:
    group = thing["apiVersion"].rpartition("/")[0]
    return "." not in group or (group.endswith(".k8s.io") and not group.startswith("gateway."))


def findings(manifests: Manifests) -> Iterator[str]:
    """A kind without a schema is a finding too."""
    for thing in manifests.objects:
        if is_core(thing):
            yield from _core(thing)
    yield from _custom([o for o in manifests.objects if not is_core(o)])


def _core(thing: Object) -> Iterator[str]:
    try:
        kubernetes_validate.validate(thing, KUBERNETES, strict=True)
    except kubernetes_validate.ValidationError as error:
        yield f"{title(thing)}: {'.'.join(map(str, error.path))}: {error.message}"
    except kubernetes_validate.SchemaNotFoundError:
        yield f"{title(thing)}: no schema for this kind"


def _custom(things: list[Object]) -> Iterator[str]:
    if not things:
        return
    done = subprocess.run(
        [FOLDER / "bin" / "node", SCRIPT, FOLDER],
        input=json.dumps(things),
        capture_output=True,
        text=True,
        check=True,
    )
    for thing, messages in zip(things, json.loads(done.stdout), strict=True):
        yield from (f"{title(thing)}: {message}" for message in messages)
