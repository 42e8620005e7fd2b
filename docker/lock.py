"""Writes docker/locks/: every version and hash that the image installs, from pyproject.toml and constraints.txt.

    python docker/lock.py

One resolution serves all targets below; should they ever differ, it says so and writes nothing.
"""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

from tools import ROOT, tool

LOCKS = ROOT / "docker" / "locks"
TARGETS = [
    (python, f"{machine}-manylinux_2_28")
    for python in ("3.11", "3.12")
    for machine in ("x86_64", "aarch64")
]
TORCH = "torch==2.13.0"
GPU_ONLY = re.compile(r"nvidia-|cuda-|triton")
# The CPU build is not on the package registry; these are the wheels on PyTorch's own index of CPU builds.
CPU_TORCH = """torch==2.13.0+cpu \\
    --hash=sha256:4ca4a9394b0c771238a4f73590fdbbc4debad85ed0fa63d026ae1b085da7d6e2 \\
    --hash=sha256:6746dbcbeb526eb61330b76b41ff1b4eb848951103a892eeb080dfa2b264667b \\
    --hash=sha256:6f307c2c32d764ffc6ff6893b801fad6d4752f3e67966cb8abf1843427c02604 \\
    --hash=sha256:84453b69508ec79902f899c5ed9495acb9e2bbe9fda5f1d5d6f19e3c3842e1a7
"""

Blocks = dict[str, str]  # name to its lines


def main() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    wanted = [
        TORCH,
        *project["project"]["dependencies"],
        *project["project"]["optional-dependencies"]["otel"],
    ]
    everything = resolve(wanted, (ROOT / "constraints.txt").read_text("utf-8"))
    torch = resolve([TORCH], "".join(everything.values()))
    on_cpu = {k: v for k, v in torch.items() if not GPU_ONLY.match(k)} | {"torch": CPU_TORCH}
    write("torch-cu130", torch)
    write("torch-cpu", on_cpu)
    write("app", {k: v for k, v in everything.items() if k not in torch})
    build = project["build-system"]["requires"]
    write("build", resolve(build, (ROOT / "constraints.txt").read_text("utf-8")))


def resolve(wanted: list[str], constraints: str) -> Blocks:
    """The same for every target, or an end."""
    found = {compiled(wanted, constraints, *target) for target in TARGETS}
    if len(found) > 1:
        sys.exit(f"the targets need different versions: {TARGETS}")
    blocks = re.findall(r"^([\w.-]+)(==.*(?:\n .*)*\n)", found.pop(), re.MULTILINE)
    return {name: name + rest for name, rest in blocks}


def compiled(wanted: list[str], constraints: str, python: str, platform: str) -> str:
    """What uv answers, with nothing but versions and hashes in it: no address of an index, no file name."""
    scratch = ROOT / "build" / "lock"
    scratch.mkdir(parents=True, exist_ok=True)
    asked = scratch / "in.txt"
    asked.write_text("\n".join(wanted), "utf-8")
    bounds = scratch / "constraints.txt"
    bounds.write_text(re.sub(r" \\\n +--hash=\S+", "", constraints), "utf-8")
    command = [tool("uv"), "pip", "compile", "--quiet", "--generate-hashes", "--no-header"]
    command += ["--no-annotate", "--python-version", python, "--python-platform", platform]
    command += ["--only-binary", ":all:", "--constraint", str(bounds), str(asked)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout  # noqa: S603


def write(name: str, blocks: Blocks) -> None:
    path = LOCKS / f"{name}.txt"
    path.write_text("".join(blocks[k] for k in sorted(blocks)), "utf-8")
    sys.stdout.write(f"{path.relative_to(Path.cwd())}: {len(blocks)} packages\n")


if __name__ == "__main__":
    main()
