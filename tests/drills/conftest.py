"""Each drill in its short form, which CI runs, or its full one (`--full`); what it measured goes to `--figures`."""

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.live.conftest import ServerProcess, serving

FAULTY = (sys.executable, "-m", "tests.drills.replica")


def pytest_addoption(parser):
    parser.addoption(
        "--full", action="store_true", help="for as long and as hard as docs/drills.md says"
    )
    parser.addoption(
        "--figures", type=Path, help="JSON file to which each drill adds what it measured"
    )


@pytest.fixture
def full(request) -> bool:
    return bool(request.config.getoption("--full"))


Note = Callable[..., None]


@pytest.fixture
def note(request, full) -> Note:
    """Print what a drill measured, and add it to the file."""
    path: Path | None = request.config.getoption("--figures")
    name = re.sub(r"\[asyncio\]|asyncio-", "", request.node.name)

    def write(**figures: object) -> None:
        said = ", ".join(f"{k} {v}" for k, v in figures.items())
        sys.stdout.write(f"\n{name}: {said}\n")
        if path is not None:
            known = json.loads(path.read_text()) if path.exists() else {}
            path.write_text(json.dumps(known | {name: figures | {"full": full}}, indent=2) + "\n")

    return write


@pytest.fixture
def faulty():
    """Starts servers of `tests.drills.replica`, with an ops port, and ends them."""
    started = []

    def start(*flags: str, **options) -> ServerProcess:
        context = serving("--ops-port", "0", *flags, program=FAULTY, **options)
        started.append(context)
        return context.__enter__().ready()

    yield start
    for context in reversed(started):
        context.__exit__(None, None, None)


@pytest.fixture
def demo(request):
    """The embedded demo model, served with an ops port; flags as the indirect parameter."""
    with serving("--ops-port", "0", *getattr(request, "param", ())) as server:
        yield server.ready()
