"""A server that every test of a file may use, and how fast clients try again here."""

from collections.abc import Iterator

import pytest

from basereward_client import delivery
from tests.client.serving import Live, live


@pytest.fixture(scope="module")
def server() -> Iterator[Live]:
    with live() as one:
        yield one


@pytest.fixture
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tenth of the pauses; their length is tested by itself."""
    monkeypatch.setattr(delivery, "FIRST_PAUSE_S", 0.025)
