"""The real server beside the real trainers, and the rewards it gives when it is asked row by row."""

import base64
import importlib.util
import io
import json
import math
import os
import subprocess
import threading
from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import httpx
import pytest
from PIL import Image, ImageDraw

ROOT = Path(__file__).parents[2]
START_S = 120.0
CLOSE = 1e-4  # float32 of other batches
QUESTION = "What colour is the circle?"
TRAINERS = ("trl", "openrlhf", "verl", "ms-swift", "llamafactory", "areal")
BESIDE = ("torch", "transformers", "basereward-client")

if importlib.util.find_spec("trl") is None:  # another environment than the trainers'
    collect_ignore_glob = ["test_*.py"]

os.environ |= {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "USE_HUB": "0"}


def started(process: "subprocess.Popen[str]") -> str:
    """The URL of a server that has become ready; its log is read on for as long as it runs."""
    lines: list[str] = []
    logged: dict[str, Any] = {}
    told = threading.Event()

    def read() -> None:
        assert process.stderr is not None
        for line in process.stderr:
            lines.append(line)
            entry = json.loads(line) if line.startswith("{") else {"message": ""}
            logged[entry["message"]] = entry
            if "ready" in logged:
                told.set()
        told.set()

    threading.Thread(target=read, daemon=True).start()
    told.wait(START_S)
    assert {"listening", "ready"} <= logged.keys(), "".join(lines)
    return str(logged["listening"]["url"])


def stop(process: "subprocess.Popen[str]") -> None:
    """By SIGTERM; one that does not heed it is killed, and that is an error."""
    process.terminate()
    try:
        process.wait(START_S)
    finally:
        process.kill()


@pytest.fixture(scope="session")
def url() -> Iterator[str]:
    """A server of the demo checkpoint, in the main environment; the adapters' defaults point to it."""
    command = [
        ROOT / ".venv" / "bin" / "basereward",
        "serve",
        "--port",
        "0",
        "--max-image-pixels",
        "60000",
    ]
    clean = {k: v for k, v in os.environ.items() if not k.startswith("BASEREWARD_")}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=clean, cwd=ROOT)
    try:
        os.environ["BASEREWARD_URL"] = started(process)
        yield os.environ["BASEREWARD_URL"]
    finally:
        stop(process)


class Server:
    """Plain HTTP, one row a request: what every adapter's rewards are held against."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.client = httpx.Client(base_url=url, timeout=60)

    def post(self, path: str, body: Any) -> Any:
        answer = self.client.post(path, json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def reward(
        self, response: str, prompt: Any, *images: Image.Image, system: str | None = None
    ) -> float:
        """Of a text prompt, with pictures before it; or of chat turns that hold theirs as data URIs."""
        key = "prompt" if isinstance(prompt, str) else "messages"
        item = {key: prompt, "response": response, "images": [uri(i) for i in images] or None}
        return float(self.post("/score", {"items": [item | {"system": system}]})["rewards"][0])


@pytest.fixture(scope="session")
def server(url: str) -> Server:
    return Server(url)


def sigmoid(score: float) -> float:
    return 1 / (1 + math.exp(-score))


def normal(rewards: Sequence[float], groups: Sequence[int]) -> list[float]:
    """Each less the mean of its group, in the group's deviations."""
    rows = list(zip(rewards, groups, strict=True))
    members = {group: [reward for reward, own in rows if own == group] for group in groups}
    return [(reward - mean(members[own])) / stdev(members[own]) for reward, own in rows]


def gap(rewards: Iterable[float]) -> float:
    """The smallest between any two: one above 2 * CLOSE tells all the rows apart."""
    return min(above - below for below, above in pairwise(sorted(rewards)))


def png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def uri(image: Image.Image) -> str:
    return "data:image/png;base64," + base64.b64encode(png(image)).decode()


def shape(colour: str, kind: str = "ellipse", size: int = 56) -> Image.Image:
    image = Image.new("RGB", (size, size), "white")
    getattr(ImageDraw.Draw(image), kind)((8, 8, size - 8, size - 8), fill=colour)
    return image


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """The versions that ran."""
    terminalreporter.section("trainers")
    for name in TRAINERS + BESIDE:
        terminalreporter.write_line(f"{name} {version(name)}")
