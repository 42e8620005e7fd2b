"""The embedded demo checkpoint's files, and where they are."""

from pathlib import Path

_HERE = Path(__file__).parent


def checkpoint_folder() -> Path:
    return _HERE / "checkpoint"


def example_picture() -> Path:
    """The picture the README scores."""
    return _HERE / "example.png"
