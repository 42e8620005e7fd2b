"""One request beside another tenant's canary: memory at its height, and how long the canary waits."""

import http.client
import json
import statistics
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

MIB = 2**20
CANARY = b'{"prompt":"What colour is the sky?","response":"Blue."}'


@dataclass
class Server:
    url: str
    pid: int
    keys: tuple[str, str]  # of who asks for much, and of the canary

    def post(self, path: str, body: bytes, key: str, timeout_s: float = 120.0) -> tuple[int, bytes]:
        address = urlsplit(self.url)
        assert address.hostname is not None
        connection = http.client.HTTPConnection(address.hostname, address.port, timeout=timeout_s)
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}
        try:
            connection.request("POST", path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def rss_bytes(self) -> int:
        return self._status("VmRSS")

    def peak_bytes(self) -> int:
        return self._status("VmHWM")

    def forget_peak(self) -> None:
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    def _status(self, name: str) -> int:
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        (line,) = (line for line in lines if line.startswith(name + ":"))
        return int(line.split()[1]) * 1024


@dataclass
class Canary:
    """A caller of one text every 50 ms."""

    server: Server
    waits_s: list[float] = field(default_factory=list)
    wrong: list[object] = field(default_factory=list)

    def __enter__(self) -> "Canary":
        self._stop, self._reward = threading.Event(), None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(0.05):
            begun = time.perf_counter()
            status, body = self.server.post("/score", CANARY, self.server.keys[1])
            self.waits_s.append(time.perf_counter() - begun)
            reward = json.loads(body).get("reward") if status == http.client.OK else body
            known = self._reward = reward if self._reward is None else self._reward
            right = isinstance(reward, float) and abs(reward - known) < 1e-3  # type: ignore[operator]
            if not right:
                self.wrong.append(reward)

    @property
    def p99_s(self) -> float:
        return statistics.quantiles(self.waits_s, n=100)[98] if len(self.waits_s) > 1 else 0.0


@dataclass(frozen=True)
class Measured:
    name: str
    status: int
    seconds: float
    body_bytes: int
    growth_bytes: int
    canary_p99_s: float
    wrong: int

    @property
    def allowed_bytes(self) -> float:
        """20 MiB, and 20 for each MB of body."""
        return 20 * MIB * (1 + self.body_bytes / 1e6)

    def line(self) -> str:
        return (
            f"{self.name:<32} {self.body_bytes / 1e6:6.2f} MB  {self.status} {self.seconds:6.2f} s  "
            f"+{self.growth_bytes / MIB:6.1f} of {self.allowed_bytes / MIB:6.1f} MiB  "
            f"canary p99 {self.canary_p99_s * 1000:6.0f} ms, {self.wrong} wrong"
        )


def measure(server: Server, name: str, path: str, body: bytes) -> Measured:
    server.forget_peak()
    before = server.rss_bytes()
    with Canary(server) as canary:
        begun = time.perf_counter()
        status, _ = server.post(path, body, server.keys[0])
        seconds = time.perf_counter() - begun
        time.sleep(0.3)
    growth = max(0, server.peak_bytes() - before)
    return Measured(name, status, seconds, len(body), growth, canary.p99_s, len(canary.wrong))


def alone_p99_s(server: Server, seconds: float) -> float:
    with Canary(server) as canary:
        time.sleep(seconds)
    return canary.p99_s
