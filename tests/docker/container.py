"""A container of the image by the kernel's own means, where no engine can run: namespaces, uid, a read-only root."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ENTER = Path(__file__).with_name("enter.sh")
OWN = ("--mount", "--pid", "--ipc", "--uts")


class Container:
    """One process of the image; the network is that of the drill, which has one of its own."""

    def __init__(self, root: Path, config: dict[str, Any], log: Path) -> None:
        self._root = root
        self._env = dict(pair.split("=", 1) for pair in config["Env"])
        self._log = log
        self._unshare: subprocess.Popen[bytes] | None = None

    def start(self, *command: str, mode: str = "ro") -> None:
        enter = ["bash", str(ENTER), str(self._root), mode, *command]
        with self._log.open("w") as out:
            self._unshare = subprocess.Popen(
                ["unshare", *OWN, "--fork", "--kill-child", *enter],
                env=self._env,
                stdout=out,
                stderr=out,
            )

    @property
    def pid(self) -> int:
        assert self._unshare is not None
        parent = self._unshare.pid
        return int(Path(f"/proc/{parent}/task/{parent}/children").read_text("utf-8").split()[0])

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def wait(self, timeout_s: float) -> int:
        assert self._unshare is not None
        return self._unshare.wait(timeout_s)

    def end(self) -> None:
        if self._unshare is not None and self._unshare.poll() is None:
            self._unshare.kill()
            self._unshare.wait()

    def run(self, *command: str, mode: str = "ro") -> tuple[int, str]:
        """A container of its own for this one command; its exit code and output."""
        self.start(*command, mode=mode)
        code = self.wait(300)
        return code, self._log.read_text("utf-8")

    def run_beside(self, *command: str) -> tuple[int, str]:
        """In the running container, as `docker exec` and a health check do."""
        join = ["nsenter", "-t", str(self.pid), "-m", "-p", "-i", "-u", "-r", "-S", "10001"]
        done = subprocess.run(
            [*join, "-G", "10001", *command],
            env=self._env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout

    def written(self) -> list[str]:
        """What lies in its temp folder."""
        top = Path(f"/proc/{self.pid}/root/tmp")
        return sorted(str(p.relative_to(top)) for p in top.rglob("*") if p.is_file())


def in_own_network() -> None:
    """Start this program again in a network that holds nothing but loopback, where every port is free."""
    if os.environ.get("DRILL_NETWORK") == "own":
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        return
    again = [sys.executable, "-m", "tests.docker.drill"]
    os.execvpe("unshare", ["unshare", "--net", *again], os.environ | {"DRILL_NETWORK": "own"})


def until(condition, timeout_s: float, what: str):
    """The first true value of it, asked again and again."""
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.05)
    raise AssertionError(f"not within {timeout_s:.0f} s: {what}")
