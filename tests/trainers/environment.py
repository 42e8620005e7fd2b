"""Makes the virtual environment in which real trainers run against the server; runs no test.

`python -m tests.trainers.environment` makes `.venv-trainers` in the repository root, or leaves a complete one alone.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / ".venv-trainers"
TORCH = "torch==2.13.0"
RESOLVED = Path(__file__).with_name("requirements.txt")
UNRESOLVED = Path(__file__).with_name("requirements-no-deps.txt")
CLIENT = ROOT / "client"


def steps(index: str | None) -> Iterator[list[str]]:
    """What pip is asked for, in order; torch first, so that nothing else can choose its build."""
    yield [*(["--index-url", index] if index else []), TORCH]
    yield ["-r", str(RESOLVED)]
    yield ["--no-deps", "-r", str(UNRESOLVED)]
    yield ["--no-deps", "-e", str(CLIENT)]


def wanted() -> str:
    """What a complete environment holds, as one line."""
    pins = hashlib.sha256(RESOLVED.read_bytes() + UNRESOLVED.read_bytes()).hexdigest()
    return f"{TORCH} {pins}"


def make(index: str | None) -> None:
    """Make the environment anew unless the one that is there holds what is wanted."""
    complete = FOLDER / "complete"
    if complete.exists() and complete.read_text() == wanted():
        sys.stderr.write(f"{FOLDER} is complete\n")
        return
    sys.stderr.write(f"making {FOLDER}: minutes\n")
    shutil.rmtree(FOLDER, ignore_errors=True)
    venv.create(FOLDER, with_pip=True)
    for step in steps(index):
        sys.stderr.write(f"pip install {' '.join(step)}\n")
        command = [FOLDER / "bin" / "python", "-m", "pip", "install", "-q", *step]
        subprocess.run(command, check=True)
    hide_tests()
    complete.write_text(wanted())


def hide_tests() -> None:
    """Two of the wheels bring a top-level package `tests`, which would hide this one."""
    for folder in (FOLDER / "lib").glob("python3.*/site-packages/tests"):
        shutil.rmtree(folder)


if __name__ == "__main__":
    make(os.environ.get("TORCH_INDEX"))
