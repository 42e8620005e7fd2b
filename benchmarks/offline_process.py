"""The offline limit as a runner: speaks to `benchmarks.offline` in a process of its own over its pipes."""

import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.outcome import Outcome, Unavailable
from benchmarks.processes import Child
from benchmarks.systems import ENV, measuring
from benchmarks.traffic import Call, Spec


class OfflineProcess:
    name = "offline"

    def __init__(self, checkpoint: Path, logs: Path) -> None:
        command = [sys.executable, "-m", "benchmarks.offline", "--checkpoint", str(checkpoint)]
        self._child = Child(command, ENV, logs / "offline.log", pipes=True)

    def wait(self) -> None:
        """
        Raises:
            Unavailable: it ended instead of getting ready.
        """
        self._read()

    def burst(self, spec: Spec, calls: Sequence[Call]) -> Outcome:  # noqa: ARG002 - Runner's
        writer = self._child.process.stdin
        assert writer is not None
        with measuring(self._child):
            self._child.reset_peak()
            writer.write(json.dumps(dataclasses.asdict(spec)) + "\n")
            writer.flush()
            values: dict[str, Any] = json.loads(self._read())
            return Outcome(**values | {"peak_bytes": self._child.peak_bytes()})

    def close(self) -> None:
        self._child.stop()

    def _read(self) -> str:
        reader = self._child.process.stdout
        assert reader is not None
        line = reader.readline()
        if not line:
            self._child.stop()
            raise Unavailable(f"it ended: see {self._child.log.name}")
        return line
