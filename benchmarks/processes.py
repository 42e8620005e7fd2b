"""Processes we start, and what Linux counts of them: CPU time and peak memory of a whole tree; nothing of HTTP."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_STOP_S = 30.0
_PEAK_RESET = "5"  # proc(5): clear_refs


def unwind_on_sigterm() -> None:
    """Make SIGTERM an exit that runs every `finally`: a child, often stopped, must not outlive its benchmark."""
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))


class Child:
    """A process in a session of its own, so that what it starts ends with it."""

    def __init__(
        self, command: Sequence[str], env: Mapping[str, str], log: Path, *, pipes: bool = False
    ) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        self.log = log
        pipe = subprocess.PIPE if pipes else subprocess.DEVNULL
        with log.open("w") as out:
            self.process = subprocess.Popen(
                command,
                stdin=pipe,
                stdout=subprocess.PIPE if pipes else out,
                stderr=out,
                text=True,
                env=os.environ | dict(env),
                cwd=Path(__file__).parents[1],
                start_new_session=True,
            )

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    @contextmanager
    def awake(self) -> Iterator[None]:
        """Let it run for so long; from then on it takes nothing from others."""
        self._signal(signal.SIGCONT)
        try:
            yield
        finally:
            self._signal(signal.SIGSTOP)

    def cpu_s(self) -> float:
        """User and system time of the tree so far, ended children counted."""
        return sum(map(_cpu_s, _tree(self.process.pid)))

    def reset_peak(self) -> None:
        for pid in _tree(self.process.pid):
            _try_write(Path(f"/proc/{pid}/clear_refs"), _PEAK_RESET)

    def peak_bytes(self) -> int:
        """Sum of the peak resident sizes of the tree since the last reset."""
        return sum(_peak_bytes(pid) for pid in _tree(self.process.pid))

    def stop(self) -> None:
        if self.alive:
            self._signal(signal.SIGTERM)
            self._signal(signal.SIGCONT)
            try:
                self.process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                self._signal(signal.SIGKILL)
                self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                stream.close()

    def _signal(self, number: int) -> None:
        with suppress(ProcessLookupError):  # it has ended by itself
            os.killpg(self.process.pid, number)


def _tree(root: int) -> list[int]:
    parents = {pid: _parent(pid) for pid in _pids()}
    tree, found = [root], {root}
    while found:
        found = {pid for pid, parent in parents.items() if parent in found}
        tree += found
    return tree


def _pids() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]


def _fields(pid: int) -> list[str]:
    """proc(5) stat from the third field on; the second may hold spaces. Empty once it has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _parent(pid: int) -> int:
    fields = _fields(pid)
    return int(fields[1]) if fields else 0


def _cpu_s(pid: int) -> float:
    return (
        sum(map(int, _fields(pid)[11:15])) / _TICKS
    )  # utime, stime, and the waited-for children's


def _peak_bytes(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")), 0)


def _try_write(path: Path, text: str) -> None:
    """A process that has just ended, or is not ours to reset, keeps its peak."""
    try:
        path.write_text(text)
    except OSError:
        return
