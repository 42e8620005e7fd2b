"""The servers of the comparison, how each is started and spoken to; no traffic and no statistics."""

import socket
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import checkpoints, load
from benchmarks.baselines import environments, vllm_server
from benchmarks.machine import wait_until_quiet
from benchmarks.outcome import Outcome, Unavailable
from benchmarks.processes import Child
from benchmarks.traffic import Call, Spec
from benchmarks.wires import ClassifyWire, ScoreWire, Wire, calls_for

READY_S = 300.0
THREADS = 2
ENV = {
    "OMP_NUM_THREADS": str(THREADS),
    "HF_HUB_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
}


@dataclass(frozen=True, slots=True)
class System:
    """`command` gets the checkpoint folder and a port."""

    name: str
    command: Callable[[Path, int], Sequence[str]]
    wire: Wire = field(default_factory=ScoreWire)
    ready: str = "/health"
    env: dict[str, str] = field(default_factory=dict)
    needs: Path | None = None  # the mark of its own environment
    shared_metric: str = ""  # counters of its /metrics, where answers do not tell
    padding_metric: str = ""


def _module(name: str, python: Path | str = sys.executable) -> Callable[[Path, int], list[str]]:
    def command(folder: Path, port: int) -> list[str]:
        return [str(python), "-m", name, "--checkpoint", str(folder), "--port", str(port)]

    return command


def _ours(folder: Path, port: int) -> list[str]:
    serve = [sys.executable, "-m", "service", "serve"]
    return [*serve, "--checkpoint", str(folder), "--port", str(port)]


SYSTEMS = {
    system.name: system
    for system in (
        System("serial", _module("benchmarks.baselines.serial")),
        System("padded", _module("benchmarks.baselines.padded")),
        System(
            "litserve",
            _module("benchmarks.baselines.litserve_server", environments.python("litserve")),
            wire=ScoreWire(whole_groups=False),
            needs=environments.marker("litserve"),
        ),
        System(
            "vllm",
            lambda folder, port: vllm_server.command(checkpoints.ensure_for_vllm(folder), port),
            wire=ClassifyWire(),
            env=vllm_server.ENV,
            needs=environments.marker("vllm"),
            shared_metric="vllm:prefix_cache_hits_total",
        ),
        System("ours", _ours, ready="/readyz", padding_metric="basereward_padding_tokens_total"),
    )
}


@contextmanager
def measuring(child: Child) -> Iterator[None]:
    """Awake, and the machine quiet at both ends: what a system still does after an answer is in nobody's figures."""
    with child.awake():
        wait_until_quiet()
        yield
        wait_until_quiet()


class Served:
    """A system in a process of its own; started at once, ready after `wait`."""

    def __init__(self, system: System, checkpoint: Path, logs: Path) -> None:
        """
        Raises:
            Unavailable: its environment is not installed.
        """
        if system.needs is not None and not system.needs.exists():
            how = f"python -m benchmarks.baselines.environments {system.name}"
            raise Unavailable(f"not installed: `{how}`")
        self.name, self._system = system.name, system
        port = _free_port()
        self.url = f"http://127.0.0.1:{port}"
        command = system.command(checkpoint, port)
        self.child = Child(command, ENV | system.env, logs / f"{system.name}.log")

    def burst(self, spec: Spec, calls: Sequence[Call]) -> Outcome:  # noqa: ARG002 - Runner's
        with measuring(self.child):
            return self._measured(calls, load.at_once(len(calls)))

    def poisson(self, calls: Sequence[Call], rate_per_s: float, seed: int) -> Outcome:
        """Calls arrive at random at a mean rate, whether or not others are answered."""
        with measuring(self.child):
            return self._measured(calls, load.poisson(len(calls), rate_per_s, seed))

    def close(self) -> None:
        self.child.stop()

    def _measured(self, calls: Sequence[Call], arrivals_s: Sequence[float]) -> Outcome:
        wire, child = self._system.wire, self.child
        sent = [(i, wire.body(one)) for i, c in enumerate(calls) for one in calls_for(wire, [c])]
        child.reset_peak()
        cpu_s, before = child.cpu_s(), self._counters()
        done = load.send(
            self.url + wire.path, [body for _, body in sent], [arrivals_s[i] for i, _ in sent]
        )
        cpu_s = child.cpu_s() - cpu_s
        shared, padding = (now - then for now, then in zip(self._counters(), before, strict=True))
        answers = [wire.answer(body) for body in done.bodies]
        latencies_s = [0.0] * len(calls)  # a call is answered when its last response is
        for (i, _), latency_s in zip(sent, done.latencies_s, strict=True):
            latencies_s[i] = max(latencies_s[i], latency_s)
        return Outcome(
            rewards=[reward for answer in answers for reward in answer.rewards],
            makespan_s=done.makespan_s,
            tail_s=done.tail_s,
            latencies_s=latencies_s,
            tokens=sum(a.tokens for a in answers),
            shared_tokens=sum(a.shared_tokens for a in answers) + shared,
            padding_tokens=sum(a.padding_tokens for a in answers) + padding,
            cpu_s=cpu_s,
            peak_bytes=child.peak_bytes(),
            client_cpu_s=done.client_cpu_s,
        )

    def _counters(self) -> tuple[int, int]:
        names = self._system.shared_metric, self._system.padding_metric
        if not any(names):
            return 0, 0
        text = _get(self.url + "/metrics").decode()
        shared, padding = (_counter(text, name) if name else 0 for name in names)
        return shared, padding

    def wait(self) -> None:
        """
        Raises:
            Unavailable: it ended instead of getting ready.
        """
        until = time.monotonic() + READY_S
        while not _answers(self.url + self._system.ready):
            if not self.child.alive or time.monotonic() > until:
                self.child.stop()
                raise Unavailable(f"did not start: see {self.child.log.name}")
            time.sleep(0.2)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def _get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - a server we started
        return bytes(answer.read())


def _answers(url: str) -> bool:
    try:
        _get(url)
    except OSError:
        return False
    return True


def _counter(text: str, name: str) -> int:
    """The sum of a counter's series in a Prometheus page; a name it lacks is an error, not 0."""
    lines = [line for line in text.splitlines() if line.split("{")[0].split(" ")[0] == name]
    if not lines:
        raise KeyError(name)
    return round(sum(float(line.rsplit(" ", 1)[1]) for line in lines))
