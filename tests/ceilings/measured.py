"""A request beside another tenant's canaries: memory at its height, and how long the canaries wait."""

import base64
import contextlib
import http.client
import json
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from PIL import Image

from tests.ceilings.bodies import JSON, Request
from tests.inputs.pictures import saved
from tests.live.conftest import ServerProcess, serving

MIB = 2**20
DECODED_BYTES = 512 * MIB
WATCHED = (sys.executable, "-m", "tests.ceilings.watched", "serve")
KEYS = ("key-of-the-large", "key-of-the-small")
FULL_BATCH = json.dumps(
    {"prompt": "red " * 400, "responses": [f"answer {i} of many" for i in range(512)]}
).encode()
WIDE_BATCHES = json.dumps({"prompt": "p", "responses": [f"{i}" for i in range(2048)]}).encode()
CLOSE = 1e-3  # what company may move a reward by
PICTURE = base64.b64encode(saved(Image.new("RGB", (64, 64), "red"), "PNG")).decode()

CANARIES: tuple[dict[str, str], ...] = (
    {"prompt": "What colour is the sky?", "response": "Blue."},
    {"prompt": "What colour is the sky?", "response": "Blue.", "image": PICTURE},
)


@dataclass
class Server:
    url: str
    pid: int
    keys: tuple[str, str]  # of who asks for much, and of the canary
    rewards: dict[str, float] = field(default_factory=dict)  # of the canaries, alone, by picture

    def post(
        self, path: str, body: bytes, key: str, content_type: str = JSON, timeout_s: float = 120.0
    ) -> tuple[int, bytes]:
        address = urlsplit(self.url)
        assert address.hostname is not None
        connection = http.client.HTTPConnection(address.hostname, address.port, timeout=timeout_s)
        headers = {"Content-Type": content_type, "Authorization": f"Bearer {key}"}
        try:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.request(
                    "POST", path, body, headers
                )  # it may be refused while it is sent
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def send(self, request: Request) -> int:
        """Its status."""
        return self.post(request.path, request.body, self.keys[0], request.content_type)[0]

    def full_batch_s(self) -> float:
        """How long a full batch of texts takes."""
        status, body = self.post("/score", FULL_BATCH, self.keys[0])
        assert status == http.client.OK, body
        return float(json.loads(body)["timing_ms"]["forward"]) / 1000

    def batch_s(self, request: Request) -> float:
        """How long a batch of the request takes, on average; 0 where it has none."""
        before = self._forward()
        self.send(request)
        seconds, batches = (now - then for now, then in zip(self._forward(), before, strict=True))
        return seconds / batches if batches else 0.0

    def _forward(self) -> tuple[float, float]:
        """Of all batches so far: seconds, and how many."""
        with urllib.request.urlopen(self.url + "/metrics") as answer:
            lines = answer.read().decode().splitlines()
        name = "basereward_forward_seconds"
        values = dict(line.rsplit(" ", 1) for line in lines if line.startswith(name))
        return float(values[name + "_sum"]), float(values[name + "_count"])

    def fill(self) -> None:
        """Take the memory of full batches, one staged while another runs, with another tenant's texts among them.

        It is no request's, and an idle server gives it back.
        """
        with Canary(self, CANARIES[0], 0.02):
            for body in (FULL_BATCH, WIDE_BATCHES):
                assert self.post("/score", body, self.keys[0])[0] == http.client.OK

    def reward(self, item: dict[str, str]) -> float | None:
        """None: it was not scored."""
        status, body = self.post("/score", json.dumps(item).encode(), self.keys[1])
        return float(json.loads(body)["reward"]) if status == http.client.OK else None

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
    """The demo model, with the memory that full batches take; `program` starts it, by default the command."""
    path = folder / "keys.json"
    tenants = [{"name": name, "keys": [key]} for name, key in zip(("a", "b"), KEYS, strict=True)]
    path.write_text(json.dumps({"tenants": tenants}))
    options = {"program": program} if program else {}
    with serving("--api-key-file", str(path), "--access-log-sample", "0", **options) as process:
        server = Server(process.ready().url, process.process.pid, KEYS)
        server.rewards = {item.get("image", ""): server.reward(item) for item in CANARIES}
        for _ in range(2):
            server.fill()
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
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        known = self.server.rewards[self.item.get("image", "")]
        while not self._stop.wait(self.pause_s):
            begun = time.perf_counter()
            reward = self.server.reward(self.item)
            self.waits_s.append(time.perf_counter() - begun)
            if reward is None or abs(reward - known) > CLOSE:
                self.wrong.append(reward)

    @property
    def p99_s(self) -> float:
        """Of few requests nearly the longest; 0 of none."""
        return sorted(self.waits_s)[int(0.99 * len(self.waits_s))] if self.waits_s else 0.0


def canaries(server: Server) -> tuple[Canary, Canary]:
    """One text each 50 ms, one picture of 64 x 64 each 500 ms."""
    text, picture = CANARIES
    return Canary(server, text, 0.05), Canary(server, picture, 0.5)


@dataclass(frozen=True)
class Measured:
    request: Request
    statuses: frozenset[int]
    seconds: float  # of the longest of the requests
    growth_bytes: int
    text_p99_s: float
    picture_p99_s: float
    wrong: int

    @property
    def allowed_bytes(self) -> float:
        """20 MiB, and 20 for each MB of body; decoded pictures apart."""
        decoded = DECODED_BYTES if self.request.pictures else 0
        return 20 * MIB * (1 + len(self.request.body) / 1e6) + decoded

    def line(self) -> str:
        statuses = ",".join(map(str, sorted(self.statuses)))
        return (
            f"{self.request.name:<64} {len(self.request.body) / 1e6:6.2f} MB  {statuses} {self.seconds:6.2f} s  "
            f"+{self.growth_bytes / MIB:6.1f} of {self.allowed_bytes / MIB:6.1f} MiB  canaries p99 "
            f"{self.text_p99_s * 1000:5.0f} and {self.picture_p99_s * 1000:5.0f} ms, {self.wrong} wrong"
        )


def measure(server: Server, request: Request, seconds: float = 0.0) -> Measured:
    """The request again and again for so long, at least once, beside the canaries."""
    server.fill()
    server.forget_peak()
    before, statuses, times_s = server.rss_bytes(), set(), []
    text, picture = canaries(server)
    with text, picture:
        end = time.perf_counter() + seconds
        while not times_s or time.perf_counter() < end:
            begun = time.perf_counter()
            statuses.add(server.send(request))
            times_s.append(time.perf_counter() - begun)
        time.sleep(0.3)
    growth = max(0, server.peak_bytes() - before)
    return Measured(
        request,
        frozenset(statuses),
        max(times_s),
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
