"""The real command, as an operator starts it: `basereward serve` in a process of its own."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

START_S = 120.0


class ServerProcess:
    """A `basereward serve` on a free port; its log is read as it comes."""

    def __init__(
        self,
        *flags: str,
        env: dict[str, str] | None = None,
        cwd: Path | None = None,
        program: tuple[str, ...] = (sys.executable, "-m", "service", "serve"),
    ):
        command = [*program, "--port", "0", *flags]
        clean = {k: v for k, v in os.environ.items() if not k.startswith("BASEREWARD_")}
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=clean | (env or {}),
            cwd=cwd,
        )
        self.lines: list[str] = []
        self._seen = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self._seen:
                self.lines.append(line)
                self._seen.notify_all()
        with self._seen:
            self._seen.notify_all()

    def logged(self, start: str) -> dict:
        """The first log line whose message starts so; waits for it."""

        def found() -> dict | None:
            lines = (json.loads(line) for line in self.lines if line.startswith("{"))
            return next((line for line in lines if line["message"].startswith(start)), None)

        with self._seen:
            self._seen.wait_for(lambda: found() or not self._reader.is_alive(), START_S)
            line = found()
        assert line, "".join(self.lines)
        return line

    @property
    def url(self) -> str:
        return str(self.logged("listening")["url"])

    def ready(self) -> "ServerProcess":
        self.logged("ready")
        return self

    def tell(self, word: str, answer: str = "fault") -> dict:
        """A line to the program (`tests.live.faulty`, `tests.live.cycles`): its answer, a log line of that message."""
        assert self.process.stdin is not None
        known = len(self.said(answer))
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()
        with self._seen:
            assert self._seen.wait_for(lambda: len(self.said(answer)) > known, START_S)
        return self.said(answer)[known]

    def said(self, message: str) -> list[dict]:
        """Every log line with that message."""
        lines = (json.loads(line) for line in self.lines if line.startswith("{"))
        return [line for line in lines if line["message"] == message]

    def term(self) -> None:
        """SIGTERM, as Kubernetes sends it."""
        self.process.send_signal(signal.SIGTERM)

    def stop(self) -> int:
        """SIGTERM, and the exit code."""
        self.term()
        return self.wait()

    def wait(self) -> int:
        code = self.process.wait(START_S)
        self._reader.join(START_S)
        for pipe in (self.process.stderr, self.process.stdin):
            assert pipe is not None
            pipe.close()
        return code


@contextmanager
def serving(*flags: str, **options) -> Iterator[ServerProcess]:
    server = ServerProcess(*flags, **options)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.process.kill()
        server.wait()


@pytest.fixture(scope="session")
def server() -> Iterator[ServerProcess]:
    """The embedded demo model, served once for the whole run."""
    with serving() as one:
        yield one.ready()


@pytest.fixture(scope="session")
def client(server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=120) as one:
        yield one
