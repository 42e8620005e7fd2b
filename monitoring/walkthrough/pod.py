"""A pod of the walk: a place with two ports where a server is started, ended and started again, and its callers."""

import itertools
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from monitoring.drill.processes import DrillFailed

START_S = 90.0
END_S = 60.0
SETTINGS = ("drain_s=2", "max_batch_responses=8", "hang_timeout_s=10")

FIRST_PORT = (
    20_000  # below those that the kernel gives to connections: a pod's must be free for minutes
)

Body = Callable[[int], dict[str, Any]]


@dataclass(slots=True)
class Pod:
    namespace: str
    name: str
    port: int
    ops: int
    folder: Path
    logs: list[Path] = field(default_factory=list)  # of each process, in order
    process: subprocess.Popen[bytes] | None = None

    def start(self, *flags: str, settings: Sequence[str] = (), ready: bool = True) -> None:
        ports = (f"port={self.port}", f"ops_port={self.ops}")
        command = [sys.executable, "-m", "monitoring.faulty.server", *flags]
        self.logs.append(self.folder / f"{self.namespace}-{self.name}-{len(self.logs)}.log")
        with self.logs[-1].open("wb") as log:
            self.process = subprocess.Popen(  # noqa: S603
                [*command, *ports, *SETTINGS, *settings],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
            )
        if ready:
            self.until(lambda: self.probe("/readyz").startswith("ready"), "it is ready")

    def say(self, word: str) -> None:
        assert self.process is not None
        assert self.process.stdin is not None
        self.process.stdin.write(f"{word}\n".encode())
        self.process.stdin.flush()

    def kill(self) -> None:
        self._signal(signal.SIGKILL)

    def end(self) -> int:
        """As the kubelet does: SIGTERM. The exit code."""
        return self._signal(signal.SIGTERM)

    def gone(self) -> int:
        """Once it has ended by itself: the exit code."""
        assert self.process is not None
        return self.process.wait(END_S)

    def renew(self, *flags: str, settings: Sequence[str] = ()) -> None:
        """Delete the pod; its successor starts."""
        self.end()
        self.start(*flags, settings=settings)

    @contextmanager
    def kept_up(self, *flags: str, settings: Sequence[str] = ()) -> Iterator[None]:
        """Started again in its place once it ends, as the kubelet does."""

        def restart() -> None:
            self.gone()
            self.start(*flags, settings=settings)

        again = threading.Thread(target=restart)
        again.start()
        try:
            yield
        finally:
            again.join()

    def pause(self, stopped: bool) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP if stopped else signal.SIGCONT)

    def probe(self, path: str) -> str:
        """What the ops port answers; empty while there is none."""
        try:
            return httpx.get(f"http://127.0.0.1:{self.ops}{path}", trust_env=False, timeout=5).text
        except httpx.HTTPError:
            return ""

    def says(self, path: str, text: str) -> None:
        self.until(lambda: text in self.probe(path), f"{path} says {text!r}")

    def said_before(self, text: str) -> None:
        """In the log of the process before this one."""
        if text not in self.logs[-2].read_text():
            raise DrillFailed(f"{self.namespace}: {self.logs[-2].name} does not say {text!r}")

    def until(self, condition: Callable[[], bool], what: str, within_s: float = START_S) -> None:
        begin = time.monotonic()
        while not condition():
            if time.monotonic() - begin > within_s:
                raise DrillFailed(f"{self.namespace}: not within {within_s:g} s: {what}")
            time.sleep(0.2)

    def _signal(self, number: signal.Signals) -> int:
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(END_S)


def ports(count: int) -> list[int]:
    """Free ones, and not to be taken by anyone's connection meanwhile."""
    found: list[int] = []
    for port in itertools.count(FIRST_PORT + 50 * (os.getpid() % 200)):
        with suppress(OSError):
            socket.create_server(("127.0.0.1", port)).close()
            found.append(port)
        if len(found) == count:
            return found
    raise AssertionError


def groups(number: int) -> dict[str, Any]:
    """A group of four, different from every other."""
    responses = [f"Answer {number}-{i}{'.' * i}" for i in range(4)]
    return {"prompt": f"Question {number}", "responses": responses}


@dataclass(slots=True)
class Callers:
    """Some who ask again and again, one pod after the other, as a Service spreads them."""

    pods: list[Pod]
    body: Body = groups
    headers: dict[str, str] = field(default_factory=dict)
    pause_s: float = 0.1
    over: threading.Event = field(default_factory=threading.Event)
    numbers: Iterator[int] = field(default_factory=itertools.count)

    @contextmanager
    def asking(self, callers: int = 2) -> Iterator["Callers"]:
        for _ in range(callers):
            threading.Thread(target=self._ask, daemon=True).start()
        try:
            yield self
        finally:
            self.over.set()

    def _ask(self) -> None:
        with httpx.Client(timeout=120, trust_env=False) as http:
            while not self.over.wait(self.pause_s):
                number = next(self.numbers)
                port = self.pods[number % len(self.pods)].port
                url = f"http://127.0.0.1:{port}/score"
                try:
                    http.post(url, json=self.body(number), headers=self.headers)
                except httpx.HTTPError:
                    self.over.wait(0.3)  # it is away for a moment
