"""docs/kubernetes.md names what there is: overlays, components, Secrets, labels and numbers."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

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


def test_sums_are_those_of_the_download(download, tmp_path):
    """The documented line, in a copy of the repository, gives sums that a download of these files fits."""
    (line,) = re.findall(r"(?m)^python .+SHA256SUMS$", section("Weights"))
    source = tmp_path / rendering.COMPONENTS.relative_to(rendering.ROOT) / "weights-source"
    shutil.copytree(rendering.COMPONENTS / "weights-source", source)
    checkpoint = rendering.ROOT / "service" / "demo" / "checkpoint"
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    subprocess.run(
        line.replace("CHECKPOINT", str(checkpoint)),
        shell=True,
        cwd=tmp_path,
        env=os.environ | {"PATH": path},
        check=True,
    )
    sums = download.expected((source / "SHA256SUMS").read_text())
    assert "chat_template.jinja" in sums
    assert download.faults(checkpoint, sums) == {}


def test_jobs_and_volumes_that_fill(repository):
    """What is deleted, applied and waited for, and the names that a colour gives them."""
    (job,) = rendering.rendered("fill-weights").of("Job")
    named = set(re.findall(r"job[ /]([a-z]+-[a-z]+)", section("Weights")))
    assert named == {job["metadata"]["name"]}
    overlay = repository / "k8s" / "overlays" / "fill-weights"
    with (overlay / "kustomization.yaml").open("a") as file:
        file.write("nameSuffix: -blue\n")
    blue = rendering.render(overlay)
    names = {thing["metadata"]["name"] for thing in blue.of("Job", "PersistentVolumeClaim")}
    assert names == {"fill-weights-blue", "reward-weights-blue"}
    assert all(f"`{name}`" in section("Weights") for name in names)
    assert blue.get("Namespace", "reward")
    assert rendering.rendered("blue-green").get("PersistentVolumeClaim", "reward-weights-blue")


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
