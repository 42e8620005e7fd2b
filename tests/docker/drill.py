"""`python -m tests.docker.drill`: what docs/image.md says of the built image, tried on it; needs root, not docker."""

import json
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from tests.docker import asking
from tests.docker.container import Container, in_own_network, until
from tests.docker.image import IMAGE, inspect, layers, mounted

ROOT = Path(__file__).parents[2]
LOG = ROOT / "build" / "image" / "drill.log"
INSIDE = Path(__file__).with_name("inside")
PYTHON = "/opt/basereward/bin/python"
INSTALLERS = ("pip", "pip3", "curl", "wget", "git")
COMPILERS = ("cc", "gcc", "g++", "c++", "clang", "tcc", "ld", "as", "make", "nvcc", "rustc", "go")
DEMO_BYTES = 2 * 2**20
APP_BYTES = 10 * 2**20
RESPONSES = 8000


def main() -> None:
    in_own_network()
    image = inspect()
    check_config(image["config"])
    check_layers(layers(image))
    with mounted() as root:
        container = Container(root, image["config"], LOG)
        try:
            check_files(root)
            check_packages(container)
            check_writes(container)
            check_serving(container, image["config"])
        finally:
            container.end()
    say(f"{IMAGE}: all as documented")


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def check_config(config: dict[str, Any]) -> None:
    assert config["User"] == "10001:10001", config
    assert config["StopSignal"] == "SIGTERM", config
    assert config["Entrypoint"] == ["/opt/basereward/bin/basereward"], config
    assert config["Cmd"] == ["serve"], config
    assert config["Healthcheck"]["Test"][0] == "CMD", config
    assert set(config["ExposedPorts"]) == {"8000/tcp", "9000/tcp"}, config
    labels = config["Labels"]
    revision = labels["org.opencontainers.image.revision"]
    subprocess.run(["git", "cat-file", "-e", f"{revision}^{{commit}}"], check=True)
    assert labels["org.opencontainers.image.version"], labels
    say(f"ok  user {config['User']}, entrypoint {config['Entrypoint']}, {config['StopSignal']}")


def check_layers(made: list[tuple[str, int]]) -> None:
    for by, size in made:
        say(f"    {size / 2**20:8.1f} MiB  {' '.join(by.split())[-80:]}")
    assert made[-1][1] < APP_BYTES + DEMO_BYTES
    say(f"ok  the app layer is small: {made[-1][1] / 2**20:.1f} MiB")


def check_files(root: Path) -> None:
    """Neither an installer nor a compiler, no raised rights, all of the server compiled."""
    folders = [root / p for p in ("opt/basereward/bin", "usr/local/bin", "usr/bin", "usr/sbin")]
    tools = [f / t for f in folders for t in INSTALLERS + COMPILERS if (f / t).exists()]
    packages = [p for name in ("pip", "ensurepip") for p in root.glob(f"**/python3*/**/{name}")]
    assert not tools + packages, tools + packages
    find = ["find", str(root), "-xdev", "-perm", "/6000", "-type", "f"]
    assert subprocess.run(find, stdout=subprocess.PIPE, check=True).stdout == b""
    (server,) = root.glob("opt/basereward/lib/python3.*/site-packages/service")
    sources = list(server.rglob("*.py"))
    for source in sources:
        (compiled,) = source.parent.glob(f"__pycache__/{source.stem}.cpython-*.pyc")
        assert compiled.read_bytes()[4] == 1, compiled  # by hash and unchecked: no clock is asked
    say(f"ok  no pip, no compiler, no set-id file; {len(sources)} modules compiled")


def check_packages(container: Container) -> None:
    code, out = container.run(PYTHON, "-c", (INSIDE / "requirements.py").read_text("utf-8"))
    assert code == 0, out
    assert out.endswith(" []\n"), out
    say(f"ok  {out.split()[0]} packages, every requirement met")


def check_writes(container: Container) -> None:
    """With a writable root, so that only rights hold it back; then read-only as it should run."""
    script = (INSIDE / "writes.py").read_text("utf-8")
    for mode in ("rw", "ro"):
        code, out = container.run(PYTHON, "-c", script, mode=mode)
        assert code == 0, out
        assert out.endswith(" ['/tmp'] []\n"), out
        say(
            f"ok  {mode} root: {out.split()[0]} folders, {out.split()[1]} files, only /tmp writable"
        )


def check_serving(container: Container, config: dict[str, Any]) -> None:
    """Read-only root, no shell, process 1; the health check as configured, the README's request, a drained end."""
    health = config["Healthcheck"]["Test"][1:]
    code, out = container.run(*health)
    assert code == 1, out
    begin = time.monotonic()
    container.start(*config["Entrypoint"], *config["Cmd"])
    until(lambda: asking.status(9000, "/readyz") == 200, 120, "/readyz 200 on the ops port")
    say(f"ok  /readyz on 9000 is 200 after {time.monotonic() - begin:.1f} s")
    code, out = container.run_beside(*health)
    assert (code, out) == (0, "200 ready\n"), out
    assert asking.status(8000, "/readyz") == 404
    say("ok  the health check: 1 without a server, 0 with a ready one")
    check_rewards()
    say(f"ok  written while serving: {container.written()}")
    check_drain(container)


def check_rewards() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    match = re.search(r'"rewards": (\[\[.*?\]\])', readme)
    assert match is not None
    (wanted,) = json.loads(match[1])
    code, answer = asking.score(["It is red.", "It is blue.", "It is green."])
    assert code == 200, answer
    (rewards,) = answer["rewards"]
    assert all(abs(a - b) < 1e-3 for a, b in zip(rewards, wanted, strict=True)), rewards
    say(f"ok  /score: {rewards}, as the README says")


def check_drain(container: Container) -> None:
    """Told to stop in the middle of a request: it is answered whole, new ones are not let in, exit code 0."""
    answers: list[tuple[int, Any]] = []
    responses = [f"It is red, number {n}." for n in range(RESPONSES)]
    caller = threading.Thread(target=lambda: answers.append(asking.score(responses)))
    caller.start()
    until(lambda: asking.metric("basereward_queue_depth") > 0, 60, "work in the queue")
    container.signal(signal.SIGTERM)
    begin = time.monotonic()
    until(lambda: asking.status(9000, "/readyz") != 200, 10, "not ready once told to stop")
    assert caller.is_alive(), "the request ended before the signal came"
    assert asking.status(8000, "/info") != 200
    code = container.wait(60)
    caller.join()
    ((status, answer),) = answers
    assert status == 200, answer
    (rewards,) = answer["rewards"]
    assert len(rewards) == RESPONSES, answer["errors"]
    assert code == 0, LOG.read_text("utf-8")
    took = time.monotonic() - begin
    say(f"ok  SIGTERM in mid-request: {len(rewards)} rewards, exit code 0, after {took:.1f} s")


if __name__ == "__main__":
    main()
