"""Copies of monitoring/ are equal to it, and what the cluster gets of the rules is what Prometheus would load."""

import re

import pytest

from k8s import copies
from tests.k8s import rendering


@pytest.mark.parametrize("path", copies.copies(), ids=lambda path: path.name)
def test_copies_are_equal(path):
    assert path.read_text("utf-8") == copies.copies()[path], "run `python -m k8s.copies`"


def test_the_rule_holds_every_group_of_every_file():
    files = [rendering.yaml_file(path) for path in sorted(copies.RULES.glob("*.yaml"))]
    rule = rendering.rendered("production").one("PrometheusRule", "reward-server")
    assert rule["spec"]["groups"] == [group for file in files for group in file["groups"]]
    assert len(rule["spec"]["groups"]) >= len(files) > 0


def test_alerts_of_pods_know_how_they_are_called_here():
    """Rules that select pods by name (of a GPU's exporter) do so by the name of the Deployment."""
    for path in copies.RULES.glob("*.yaml"):
        for pattern in re.findall(r'pod=~"([^"]+)"', path.read_text("utf-8")):
            for name in ("reward-server", "reward-server-blue"):
                assert re.fullmatch(pattern, f"{name}-5d9c7b8f4-x2x7q"), (path, pattern)


def test_the_sidecar_finds_the_dashboard():
    config = rendering.rendered("production").one("ConfigMap", "reward-dashboard")
    assert config["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert list(config["data"].values()) == [copies.DASHBOARD.read_text("utf-8")]
