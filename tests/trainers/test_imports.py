"""Adapters are imported without any trainer: by the client alone, in a process of its own."""

import subprocess
import sys
from pathlib import Path

import basereward_client.adapters

NAMES = [path.stem for path in Path(basereward_client.adapters.__path__[0]).glob("[a-z]*.py")]
HEAVY = ["torch", "numpy", "PIL", "trl", "verl", "swift", "openrlhf", "areal", "httpx"]


def test_trainers_are_imported_when_they_are_used() -> None:
    imports = "; ".join(f"import basereward_client.adapters.{name}" for name in NAMES)
    code = f"import sys; {imports}; print([name for name in {HEAVY} if name in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
    assert {"trl", "verl", "swift", "openrlhf", "areal", "slime", "easyr1"} < set(NAMES)
