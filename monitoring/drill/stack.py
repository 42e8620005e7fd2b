"""Prometheus and Alertmanager as the drill runs them: their configuration, their processes, and what they answer."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from monitoring.drill.processes import Process
from monitoring.drill.scaling import write_faster
from monitoring.tools import tool

RULES = Path(__file__).parents[1] / "rules"
START_S = 30.0


@dataclass(frozen=True, slots=True)
class Ports:
    server: int
    ops: int
    prometheus: int
    alertmanager: int
    webhook: int


@dataclass(slots=True)
class Watched:
    """What Prometheus showed of each alert, and when first (monotonic seconds)."""

    url: str
    seen: list[tuple[str, str, float]] = field(default_factory=list)  # alert, state, at

    def look(self) -> None:
        now = time.monotonic()
        for alert in _get(f"{self.url}/api/v1/alerts")["alerts"]:
            self.seen.append((alert["labels"]["alertname"], alert["state"], now))

    def first(self, alert: str, state: str, since: float) -> float | None:
        times = (at for name, was, at in self.seen if (name, was) == (alert, state) and at > since)
        return next(times, None)

    def value(self, query: str) -> float | None:
        result = _get(f"{self.url}/api/v1/query", query=query)["result"]
        return float(result[0]["value"][1]) if result else None


def write_configuration(folder: Path, ports: Ports) -> None:
    """JSON is YAML too."""
    write_faster(RULES, folder / "rules")
    (folder / "prometheus.yaml").write_text(json.dumps(_prometheus(ports)))
    (folder / "alertmanager.yaml").write_text(json.dumps(_alertmanager(ports)))


@contextmanager
def stack(folder: Path, ports: Ports) -> Iterator[Watched]:
    at = f"127.0.0.1:{ports.prometheus}"
    prometheus = Process(
        "prometheus",
        [
            tool("prometheus"),
            f"--config.file={folder}/prometheus.yaml",
            f"--storage.tsdb.path={folder}/prometheus",
            f"--web.listen-address={at}",
        ],
        folder,
    )
    alertmanager = Process(
        "alertmanager",
        [
            tool("alertmanager"),
            f"--config.file={folder}/alertmanager.yaml",
            f"--storage.path={folder}/alertmanager",
            f"--web.listen-address=127.0.0.1:{ports.alertmanager}",
            "--cluster.listen-address=",
        ],
        folder,
    )
    try:
        prometheus.until(lambda: _ready(f"http://{at}/-/ready"), "prometheus is ready", START_S)
        url = f"http://127.0.0.1:{ports.alertmanager}/-/ready"
        alertmanager.until(lambda: _ready(url), "alertmanager is ready", START_S)
        yield Watched(f"http://{at}")
    finally:
        prometheus.end()
        alertmanager.end()


def _prometheus(ports: Ports) -> dict[str, Any]:
    labels = {"namespace": "drill", "pod": "reward-server-drill"}
    targets = {"targets": [f"127.0.0.1:{ports.ops}"], "labels": labels}
    managers = {"static_configs": [{"targets": [f"127.0.0.1:{ports.alertmanager}"]}]}
    return {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
        "rule_files": ["rules/*.yaml"],
        "alerting": {"alertmanagers": [managers]},
        "scrape_configs": [{"job_name": "drill", "static_configs": [targets]}],
    }


def _alertmanager(ports: Ports) -> dict[str, Any]:
    hook = {"url": f"http://127.0.0.1:{ports.webhook}/", "send_resolved": True}
    return {
        "route": {
            "receiver": "drill",
            "group_by": ["alertname"],
            "group_wait": "0s",
            "group_interval": "1s",
        },
        "receivers": [{"name": "drill", "webhook_configs": [hook]}],
    }


def _ready(url: str) -> bool:
    try:
        return httpx.get(url, trust_env=False).is_success
    except httpx.HTTPError:
        return False


def _get(url: str, **query: str) -> Any:
    answer = httpx.get(url, params=query, trust_env=False).json()
    assert answer["status"] == "success", answer
    return answer["data"]
