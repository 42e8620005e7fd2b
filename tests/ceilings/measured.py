"""A request beside another tenant's canaries: memory at its height, and how long the canaries wait."""

import base64
import http.client
import json
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from PIL import Image

from tests.inputs.pictures import saved
from tests.live.conftest import ServerProcess, serving

MIB = 2**20
WATCHED = (sys.executable, "-m", "tests.ceilings.watched", "serve")
KEYS = ("key-of-the-large", "key-of-the-small")
FULL_BATCH = json.dumps(
    {"prompt": "red " * 400, "responses": [f"answer {i} of many" for i in range(512)]}
).encode()
PICTURE = base64.b64encode(saved(Image.new("RGB", (64, 64), "red"), "PNG")).decode()


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

    def batch_s(self) -> float:
        """How long a full batch takes."""
        status, body = self.post("/score", FULL_BATCH, self.keys[0])
        assert status == http.client.OK, body
        return float(json.loads(body)["timing_ms"]["forward"]) / 1000

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


@contextmanager
def two_tenants(folder: Path, *program: str) -> Iterator[tuple[Server, ServerProcess]]:
    """The demo model, with the memory that a full batch takes; `program` starts it, by default the command."""
    path = folder / "keys.json"
    tenants = [{"name": name, "keys": [key]} for name, key in zip(("a", "b"), KEYS, strict=True)]
    path.write_text(json.dumps({"tenants": tenants}))
    options = {"program": program} if program else {}
    with serving("--api-key-file", str(path), "--access-log-sample", "0", **options) as process:
        server = Server(process.ready().url, process.process.pid, KEYS)
        for _ in range(2):
            server.batch_s()
        yield server, process


@dataclass
class Canary:
    """A caller of one small request, again and again, after a pause."""

    server: Server
    item: dict[str, str]
    pause_s: float
    waits_s: list[float] = field(default_factory=list)
    wrong: list[object] = field(default_factory=list)

    def __enter__(self) -> "Canary":
        self._stop, self._reward = threading.Event(), None
        self._body = json.dumps(self.item).encode()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(self.pause_s):
            begun = time.perf_counter()
            status, body = self.server.post("/score", self._body, self.server.keys[1])
            self.waits_s.append(time.perf_counter() - begun)
            reward = json.loads(body).get("reward") if status == http.client.OK else body
            known = self._reward = reward if self._reward is None else self._reward
            right = isinstance(reward, float) and abs(reward - known) < 1e-3  # type: ignore[operator]
            if not right:
                self.wrong.append(reward)

    @property
    def p99_s(self) -> float:
        """Of few requests nearly the longest; 0 of none."""
        return sorted(self.waits_s)[int(0.99 * len(self.waits_s))] if self.waits_s else 0.0


def canaries(server: Server) -> tuple[Canary, Canary]:
    """One text each 50 ms, one picture of 64 x 64 each 500 ms."""
    text = {"prompt": "What colour is the sky?", "response": "Blue."}
    return Canary(server, text, 0.05), Canary(server, text | {"image": PICTURE}, 0.5)


@dataclass(frozen=True)
class Measured:
    name: str
    statuses: frozenset[int]
    seconds: float  # of the longest of the requests
    body_bytes: int
    growth_bytes: int
    text_p99_s: float
    picture_p99_s: float
    wrong: int

    @property
    def allowed_bytes(self) -> float:
        """20 MiB, and 20 for each MB of body."""
        return 20 * MIB * (1 + self.body_bytes / 1e6)

    def line(self) -> str:
        statuses = ",".join(map(str, sorted(self.statuses)))
        return (
            f"{self.name:<64} {self.body_bytes / 1e6:6.2f} MB  {statuses} {self.seconds:6.2f} s  "
            f"+{self.growth_bytes / MIB:6.1f} of {self.allowed_bytes / MIB:6.1f} MiB  canaries p99 "
            f"{self.text_p99_s * 1000:5.0f} and {self.picture_p99_s * 1000:5.0f} ms, {self.wrong} wrong"
        )


def measure(server: Server, name: str, path: str, body: bytes, seconds: float = 0.0) -> Measured:
    """One request after the other for so long, at least one, beside the canaries; memory is the first's."""
    server.forget_peak()
    before, statuses, times_s, growth = server.rss_bytes(), set(), [], 0
    text, picture = canaries(server)
    with text, picture:
        end = time.perf_counter() + seconds
        while not times_s or time.perf_counter() < end:
            begun = time.perf_counter()
            statuses.add(server.post(path, body, server.keys[0])[0])
            times_s.append(time.perf_counter() - begun)
            growth = growth if len(times_s) > 1 else max(0, server.peak_bytes() - before)
        time.sleep(0.3)
    return Measured(
        name,
        frozenset(statuses),
        max(times_s),
        len(body),
        growth,
        text.p99_s,
        picture.p99_s,
        len(text.wrong) + len(picture.wrong),
    )


def alone_p99_s(server: Server, seconds: float) -> tuple[float, float]:
    """Of the text, and of the picture."""
    text, picture = canaries(server)
    with text, picture:
        time.sleep(seconds)
    return text.p99_s, picture.p99_s
