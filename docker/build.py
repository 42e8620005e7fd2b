"""Builds the image where there is no docker: with buildah, on a base made from Debian packages, torch's CPU build.

    python docker/build.py

Lints the Dockerfile and what stands beside it first; lists what the image holds last (build/image/sbom.json).
As root, on Debian. Where there is docker, `docker build .` needs none of this.
"""

import ast
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tools import ROOT, tool

IMAGE = "localhost/basereward:cpu"
BASE = "localhost/basereward-base:bookworm"
SCRATCH = ROOT / "build" / "image"
SBOM = SCRATCH / "sbom.json"
PACKAGES = {"buildah": "buildah", "crun": "crun", "fuse-overlayfs": "fuse-overlayfs"}
PACKAGES |= {"mmdebstrap": "mmdebstrap", "setpriv": "util-linux", "ip": "iproute2"}
# What this machine's pip was told of indexes and certificates; the rest of its settings is its own affair.
PIP_KEYS = ("index-url", "find-links", "cert", "trusted-host", "default-timeout")


def main() -> None:
    SCRATCH.mkdir(parents=True, exist_ok=True)
    step("lint", lint)
    step("packages", install_packages)
    step("base", make_base)
    step("image", build)
    step("sbom", list_contents)


def step(name: str, work: Callable[[], None]) -> None:
    begin = time.monotonic()
    work()
    sys.stdout.write(f"{name}: {time.monotonic() - begin:.0f} s\n")
    sys.stdout.flush()


def run(*command: str) -> str:
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT)  # noqa: S603
    return done.stdout.strip()


def lint() -> None:
    run(tool("hadolint"), "Dockerfile")
    run(tool("python"), "docker/check_compose.py")
    if shutil.which("promtool"):
        run("promtool", "check", "config", "--syntax-only", "docker/prometheus/prometheus.yaml")
    if shutil.which("amtool"):
        run("amtool", "check-config", "docker/alertmanager/alertmanager.yaml")


def install_packages() -> None:
    missing = [package for command, package in PACKAGES.items() if not shutil.which(command)]
    if missing:
        run("apt-get", "update", "-qq")
        run("apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing, "netavark")


def make_base() -> None:
    """Debian's minimum with its Python, once; `buildah rmi` it to have a newer one."""
    if BASE in run("buildah", "images", "--format", "{{.Name}}:{{.Tag}}").split():
        return
    include = "--include=ca-certificates,python3,python3-venv"
    tree = SCRATCH / "base.tar"
    run("mmdebstrap", "--quiet", "--variant=minbase", include, "bookworm", str(tree))
    recipe = SCRATCH / "Base"
    path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    recipe.write_text(f"FROM scratch\nADD base.tar /\nENV PATH={path}\n", "utf-8")
    run(
        "buildah", "bud", "-q", "--isolation", "chroot", "-t", BASE, "-f", str(recipe), str(SCRATCH)
    )
    tree.unlink()


def build() -> None:
    command = ["buildah", "bud", "--isolation", "chroot", "--format", "docker", "--layers"]
    for name, value in arguments().items():
        command += ["--build-arg", f"{name}={value}"]
    # This buildah takes a LABEL from its cache though its argument has changed.
    command += ["--label", f"org.opencontainers.image.revision={revision()}"]
    for mount in pip_mounts():
        command += ["--volume", f"{mount}:ro"]
    log = SCRATCH / "build.log"
    with log.open("w") as out:
        done = subprocess.run(  # noqa: S603
            [*command, "--tag", IMAGE, "."], check=False, stdout=out, stderr=out, cwd=ROOT
        )
    if done.returncode:
        sys.exit("".join(log.read_text("utf-8").splitlines(keepends=True)[-30:]))


def arguments() -> dict[str, str]:
    version = re.search(r'__version__ = "(.+)"', (ROOT / "service/__init__.py").read_text("utf-8"))
    assert version is not None
    return {"BASE": BASE, "CUDA": "cpu", "VERSION": version[1], "REVISION": revision()}


def revision() -> str:
    return run("git", "rev-parse", "HEAD")


def pip_mounts() -> Iterator[str]:
    """Indexes and certificates of this machine for pip, as files and so in no layer and no variable of the image."""
    told = run(sys.executable, "-m", "pip", "config", "list")
    pairs = re.findall(r"^(?:global|:env:)\.([\w-]+)=('.*')$", told, re.MULTILINE)
    settings = {key: ast.literal_eval(value) for key, value in pairs if key in PIP_KEYS}
    configuration = SCRATCH / "pip.conf"
    lines = [f"{key} = {value}\n" for key, value in settings.items()]
    configuration.write_text("[global]\n" + "".join(lines), "utf-8")
    yield f"{configuration}:/etc/pip.conf"
    for word in " ".join(settings.values()).split():
        if word.startswith("/") and Path(word).exists():
            yield f"{word}:{word}"


def list_contents() -> None:
    container = run("buildah", "from", IMAGE)
    try:
        tree = run("buildah", "mount", container)
        run(tool("syft"), "scan", f"dir:{tree}", "-q", "-o", f"cyclonedx-json={SBOM}")
    finally:
        run("buildah", "rm", container)


if __name__ == "__main__":
    main()
