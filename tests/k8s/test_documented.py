"""docs/kubernetes.md names what there is: overlays, components, Secrets, labels and numbers."""

import re

import pytest

from tests.k8s import rendering
from tests.k8s.manifests import seconds, server_container, strings
from tests.k8s.policies.references import PAGE, documented_secrets
from tests.k8s.policies.scaling import LONGEST_STEP_S

TEXT = PAGE.read_text("utf-8")


def section(title):
    return re.split(rf"(?m)^## {title}$", TEXT)[1].split("\n## ")[0]


def rows(title):
    """The code spans of the first column of a section's table."""
    cells = re.findall(r"(?m)^\| (`[^|]+) \|", section(title))
    return {name for cell in cells for name in re.findall(r"`([^`]+)`", cell)}


def test_overlays():
    assert rows("Choose an overlay") == {path.name for path in rendering.OVERLAYS.iterdir()}


def test_components():
    assert rows("Components") == {path.name for path in rendering.COMPONENTS.iterdir()}


def test_ways_to_weights():
    assert rows("Weights") <= rows("Components")


def test_every_gateway():
    assert rows("Gateways") == {n for n in rows("Components") if n.startswith("routing-")}


def test_secrets_are_those_that_are_mounted():
    mounted = set()
    for manifests in rendering.everything():
        for text in strings(manifests.objects):
            if re.fullmatch(r"reward-[\w-]*(keys|tls|token)", text):
                mounted.add(text)
    assert documented_secrets() == mounted


def test_labels_of_namespaces():
    said = set(re.findall(r"label namespace \S+ (\S+)=true", TEXT))
    policies = rendering.rendered("production").of("NetworkPolicy")
    used = {k for p in policies for k in re.findall(r"'(reward-[a-z]+)': 'true'", str(p))}
    assert said == used


@pytest.mark.parametrize("path", re.findall(r"`(k8s/[\w./-]+)`|-k (k8s/\S+)", TEXT), ids=str)
def test_paths(path):
    assert (rendering.ROOT / (path[0] or path[1])).exists()


def test_numbers_of_the_end_of_a_pod():
    (server,) = rendering.rendered("production").servers()
    sleep = server_container(server)["lifecycle"]["preStop"]["sleep"]["seconds"]
    grace = server["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    assert f"{sleep} s in which gateways forget it, 30 s to finish its work" in TEXT
    assert f"out of {grace} s" in TEXT
    assert f"fails after {server['spec']['progressDeadlineSeconds'] // 60}" in TEXT


def test_numbers_of_scaling():
    scaler = rendering.rendered("production").one("ScaledObject", "reward-server")["spec"]
    down = scaler["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]["scaleDown"]
    assert f"after {down['stabilizationWindowSeconds'] // 60} minutes of less" in TEXT
    assert f"up to {LONGEST_STEP_S // 60} minutes" in TEXT
    assert f"per {scaler['triggers'][0]['metadata']['threshold']} s of" in TEXT


def test_numbers_of_gateways():
    route = rendering.rendered("production").one("HTTPRoute", "reward-server")
    assert f"wait for {seconds(route['spec']['rules'][0]['timeouts']['request']):g} s" in TEXT
