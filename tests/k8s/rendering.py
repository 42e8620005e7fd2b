"""Renders every overlay and every composition with kubectl's kustomize; judges nothing."""

import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tests.k8s.manifests import Manifests

ROOT = Path(__file__).parents[2]
K8S = ROOT / "k8s"
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast where it was built
COMPONENTS = K8S / "components"
OVERLAYS = K8S / "overlays"
COMPOSITIONS = Path(__file__).with_name("compositions")
PRODUCTION = ("production", "blue-green")  # images by digest alone


def folders() -> dict[str, Path]:
    """Name to folder of all that is rendered: what is shipped, and what puts the other components to use."""
    found = [*OVERLAYS.iterdir(), *COMPOSITIONS.iterdir()]
    return {path.name: path for path in sorted(found) if path.is_dir()}


@cache
def rendered(name: str) -> Manifests:
    """Shared between callers: copy it before a change."""
    return render(folders()[name])


def render(folder: Path) -> Manifests:
    """One folder, wherever it lies.

    Raises:
        RuntimeError: kustomize refuses the folder; with what it says.
    """
    kubectl = Path(shutil.which("kubectl", path=str(ROOT / ".venv-k8s" / "bin")) or "kubectl")
    command = [kubectl, "kustomize", folder]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode or done.stderr:
        raise RuntimeError(f"{folder}: {done.stderr}")  # its warnings are deprecations: errors here
    objects = list(yaml.load_all(done.stdout, LOADER))
    return Manifests(folder.name, objects, folder.name in PRODUCTION)


def everything() -> list[Manifests]:
    return [rendered(name) for name in folders()]


def components_used() -> set[str]:
    """Of all rendered folders, with the components of components."""
    used: set[str] = set()
    for folder in folders().values():
        used |= _components(folder)
    return used


def _components(folder: Path) -> set[str]:
    text = yaml.safe_load((folder / "kustomization.yaml").read_text())
    inner = [(folder / path).resolve() for path in text.get("components", [])]
    nested = [(folder / path).resolve() for path in text.get("resources", [])]
    used = {path.name for path in inner}
    for path in [*inner, *(p for p in nested if p.is_dir())]:
        used |= _components(path)
    return used


def yaml_file(path: Path) -> Any:
    return yaml.safe_load(path.read_text("utf-8"))
