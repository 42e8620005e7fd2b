"""Prometheus over all pods of the walk, with rules that run faster, and what it says."""

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from monitoring.drill.processes import Process
from monitoring.drill.scaling import write_faster
from monitoring.tools import tool
from monitoring.walkthrough.pod import Pod

RULES = Path(__file__).parents[1] / "rules"
START_S = 60.0
FRESH_S = 0.5
# Numbers that no walk can wait for, or no small machine has: a load of 15 minutes, and 4 GB of host memory.
LOWERED = {"serving.yaml": ("> 900)", "> 40)"), "host.yaml": ("bytes > 4e9", "bytes > 6e8")}


@dataclass(slots=True)
class Watch:
    url: str
    looked_at: float = 0.0
    firing: set[tuple[str, str]] = field(default_factory=set)  # alert, namespace

    def fires(self, alert: str, namespace: str) -> bool:
        if time.monotonic() - self.looked_at > FRESH_S:
            self.looked_at = time.monotonic()
            self.firing = {
                (one["labels"]["alertname"], one["labels"].get("namespace", ""))
                for one in self._get("alerts")["alerts"]
                if one["state"] == "firing"
            }
        return (alert, namespace) in self.firing or (alert, "") in self.firing

    def series(self, query: str) -> list[dict[str, Any]]:
        result: list[dict[str, Any]] = self._get("query", query=query)["result"]
        return result

    def _get(self, what: str, **query: str) -> Any:
        answer = httpx.get(f"{self.url}/api/v1/{what}", params=query, trust_env=False, timeout=30)
        body = answer.json()
        assert body["status"] == "success", body
        return body["data"]


@contextmanager
def watching(folder: Path, port: int, pods: Sequence[Pod], exporter: int) -> Iterator[Watch]:
    """Args:
    exporter: port of a page that stands for the GPU exporter's.
    """
    _write(folder, pods, exporter)
    at = f"127.0.0.1:{port}"
    command = [
        *(tool("prometheus"), f"--config.file={folder}/prometheus.yaml"),
        *(f"--storage.tsdb.path={folder}/prometheus", f"--web.listen-address={at}"),
    ]
    prometheus = Process("prometheus", command, folder)
    try:
        prometheus.until(lambda: _ready(f"http://{at}/-/ready"), "prometheus is ready", START_S)
        yield Watch(f"http://{at}")
    finally:
        prometheus.end()


def _write(folder: Path, pods: Sequence[Pod], exporter: int) -> None:
    write_faster(RULES, folder / "rules")
    for name, (shipped, lowered) in LOWERED.items():
        text = (folder / "rules" / name).read_text("utf-8")
        assert shipped in text, f"{name} has no {shipped!r} any more"
        (folder / "rules" / name).write_text(text.replace(shipped, lowered), "utf-8")
    targets = [_target(pod.ops, pod.namespace, pod.name) for pod in pods]
    targets.append(_target(exporter, "xid", "gpu-exporter"))
    configuration = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
        "rule_files": ["rules/*.yaml"],
        "scrape_configs": [{"job_name": "walk", "static_configs": targets}],
    }
    (folder / "prometheus.yaml").write_text(json.dumps(configuration), "utf-8")


def _target(port: int, namespace: str, pod: str) -> dict[str, Any]:
    return {"targets": [f"127.0.0.1:{port}"], "labels": {"namespace": namespace, "pod": pod}}


def _ready(url: str) -> bool:
    try:
        return httpx.get(url, trust_env=False).is_success
    except httpx.HTTPError:
        return False
