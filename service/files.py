"""Files that others exchange while the server runs: keys, certificates."""

from collections.abc import Callable
from pathlib import Path


class Renewed:
    """What is made of files, made again when they change, and until it could be made."""

    def __init__(self, load: Callable[[], str | None], *paths: Path) -> None:
        """
        Args:
            load: reads the files; what is wrong with them, if anything: then what stood before stays.
            paths: of the files.
        """
        self._load = load
        self._paths = paths
        self._seen = self._look()
        self._problem: str | None = None

    def renew(self) -> str | None:
        """What is wrong with new files, once."""
        seen = self._look()
        if seen == self._seen and self._problem is None:
            return None
        before, self._seen = self._problem, seen
        self._problem = self._load()
        return self._problem if self._problem != before else None

    def _look(self) -> list[tuple[int, ...]]:
        return [_stamp(path) for path in self._paths]


def _stamp(path: Path) -> tuple[int, ...]:
    """Followed through the links by which Kubernetes exchanges a volume's files; empty for one that is missing."""
    try:
        status = path.stat()
    except OSError:
        return ()
    return status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size
