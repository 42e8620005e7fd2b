"""Files that others exchange while the server runs: keys, certificates."""

from pathlib import Path


class Watched:
    """Whether any of the files changed since it was last asked; one that is missing is a change too."""

    def __init__(self, *paths: Path) -> None:
        self._paths = paths
        self._seen = self._look()

    def changed(self) -> bool:
        before, self._seen = self._seen, self._look()
        return self._seen != before

    def _look(self) -> list[tuple[int, int]]:
        return [_stamp(path) for path in self._paths]


def _stamp(path: Path) -> tuple[int, int]:
    """Followed through the links by which Kubernetes exchanges a volume's files."""
    try:
        status = path.stat()
    except OSError:
        return 0, 0
    return status.st_mtime_ns, status.st_size
