from pathlib import Path

import pytest

from benchmarks import checkpoints


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> Path:
    """The tiny random checkpoint that all systems of a benchmark would load."""
    return checkpoints.ensure("tiny", cache=tmp_path_factory.mktemp("cache"))
