"""What a trainer installs: the client and httpx, no torch; and it scores against the real server."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live.conftest import ServerProcess, serving

ROOT = Path(__file__).parents[2]
MAX_PACKAGES = 8
SCORE = """
import sys
from pathlib import Path
from basereward_client import RewardClient

url, picture = sys.argv[1], Path(sys.argv[2])
with RewardClient(url) as client:
    client.wait_ready(60)
    for form in (picture, picture.read_bytes()):
        print(client.score_group("What colour is the circle?", ["It is red.", "It is blue."], [form]))
print([name for name in ("torch", "numpy", "PIL") if name in sys.modules])
"""


@pytest.fixture
def server() -> Iterator[ServerProcess]:
    with serving() as one:
        yield one


def _run(*command: str | Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_bare_environment_with_the_client_alone(server: ServerProcess, tmp_path: Path) -> None:
    """Needs a package index, or httpx in pip's cache and PIP_NO_INDEX with PIP_FIND_LINKS."""
    _run(sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv")
    python = tmp_path / "venv" / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check")
    _run(*pip, "install", "--quiet", ROOT / "client")
    packages = _run(*pip, "list", "--format=freeze").split()
    assert "basereward-client==0.1.0" in packages
    assert len(packages) <= MAX_PACKAGES, packages
    assert not [name for name in packages if name.startswith(("torch", "numpy", "pillow"))]
    *rewards, heavy = _run(
        python, "-I", "-c", SCORE, server.url, ROOT / "service" / "demo" / "example.png"
    ).splitlines()
    assert heavy == "[]"
    for line in rewards:
        rewarded = [float(text) for text in line.strip("[]").split(",")]
        assert rewarded == pytest.approx([5.5034, -1.9873], abs=0.01)
    assert len(rewards) == 2
