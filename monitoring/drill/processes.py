"""Processes of the drill: started on free loopback ports, logged to a file, ended by their id."""

import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

END_S = 15.0


class DrillFailed(Exception):
    """Something that had to happen did not."""


class Process:
    """Running from the moment it is made; `log` holds what it wrote."""

    def __init__(self, name: str, command: list[str], folder: Path) -> None:
        self.log = folder / f"{name}.log"
        self._name = name
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603
                command, stdin=subprocess.PIPE, stdout=log, stderr=log
            )

    def say(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n".encode())
        self._process.stdin.flush()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(END_S)

    def end(self) -> None:
        """As a supervisor does: first asked, then made to."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(END_S)
            except subprocess.TimeoutExpired:
                self.kill()

    def until(self, condition: Callable[[], bool], what: str, within_s: float) -> None:
        """
        Raises:
            DrillFailed: the process ended, or the time did.
        """
        begin = time.monotonic()
        while not condition():
            if self._process.poll() is not None:
                tail = self.log.read_text(errors="replace")[-2000:]
                raise DrillFailed(f"{self._name} ended before {what}:\n{tail}")
            if time.monotonic() - begin > within_s:
                raise DrillFailed(f"not within {within_s:g} s: {what}")
            time.sleep(0.1)


def free_ports(count: int) -> list[int]:
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(listener.getsockname()[1]) for listener in listeners]
    for listener in listeners:
        listener.close()
    return ports
