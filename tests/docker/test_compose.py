"""The compose file and what it mounts fit each other, the image, the settings and the rules."""

import json
import re

import pytest
import yaml

from service.lifecycle import ANSWER_S
from service.settings import Settings
from service.sources import env_name
from tests.docker.files import ROOT, compose, config, environment

SERVICES = compose()["services"]
SERVERS = [SERVICES["server"], SERVICES["demo"]]
MOUNTS = [
    (name, *mount.split(":"))
    for name, service in SERVICES.items()
    for mount in service.get("volumes", ())
]
FILES = [mount for mount in MOUNTS if mount[1].startswith(".")]


@pytest.mark.parametrize("mount", FILES, ids=lambda mount: mount[2])
def test_what_is_mounted_exists_and_is_read_only(mount):
    _, source, _, mode = mount
    assert (ROOT / "docker" / source).exists()
    assert mode == "ro"


def test_volumes_are_declared():
    named = {source for _, source, *_ in MOUNTS if not source.startswith(".")}
    assert named == set(compose()["volumes"])


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_is_held_to_what_it_needs(name):
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]


@pytest.mark.parametrize("name", SERVICES)
def test_only_loopback_is_published_and_never_the_ops_port(name):
    for port in SERVICES[name]["ports"]:
        address, outside, _ = port.split(":")
        assert address == "127.0.0.1"
        assert outside != environment()["BASEREWARD_OPS_PORT"]


@pytest.mark.parametrize("name", set(SERVICES) - {"server", "demo"})
def test_images_are_pinned(name):
    assert re.fullmatch(r"[\w/]+:v?\d+\.\d+\.\d+", SERVICES[name]["image"])


@pytest.mark.parametrize("server", SERVERS, ids=["server", "demo"])
def test_settings_are_real_and_leave_time_to_drain(server):
    known = {env_name(name) for name in Settings.model_fields}
    told = {k: v for k, v in server["environment"].items() if k.startswith("BASEREWARD_")}
    assert set(told) <= known
    grace = float(server["stop_grace_period"].removesuffix("s"))
    assert grace > float(told["BASEREWARD_DRAIN_S"]) + ANSWER_S
    assert server["sysctls"]["net.core.somaxconn"] == Settings().backlog
    assert server["tmpfs"][0].startswith("/tmp:")


def test_one_profile_has_a_gpu_and_one_the_cpu_build():
    (device,) = SERVICES["server"]["deploy"]["resources"]["reservations"]["devices"]
    assert device["capabilities"] == ["gpu"]
    assert SERVICES["server"]["profiles"] == ["gpu"]
    assert SERVICES["demo"]["profiles"] == ["cpu"]
    assert SERVICES["demo"]["build"]["args"]["CUDA"] == "cpu"


def test_prometheus_scrapes_the_ops_port_and_reads_our_rules():
    prometheus = config("prometheus/prometheus.yaml")
    (job,) = prometheus["scrape_configs"]
    (alias,) = SERVICES["server"]["networks"]["default"]["aliases"]
    (target,) = job["static_configs"]
    assert target["targets"] == [f"{alias}:{environment()['BASEREWARD_OPS_PORT']}"]
    assert set(target["labels"]) == {"namespace", "pod"}
    (mounted,) = (m for m in FILES if m[1] == "../monitoring/rules")
    assert prometheus["rule_files"] == [f"{mounted[2]}/*.yaml"]
    (manager,) = prometheus["alerting"]["alertmanagers"][0]["static_configs"]
    name, _, port = manager["targets"][0].partition(":")
    assert SERVICES[name]["ports"] == [f"127.0.0.1:{port}:{port}"]


def test_every_severity_has_a_route():
    rules = [p.read_text("utf-8") for p in (ROOT / "monitoring" / "rules").glob("*.yaml")]
    groups = (group for text in rules for group in yaml.safe_load(text)["groups"])
    alerts = [rule for group in groups for rule in group["rules"] if "alert" in rule]
    route = config("alertmanager/alertmanager.yaml")["route"]
    routed = {r["matchers"][0].removeprefix("severity=").strip('"') for r in route["routes"]}
    assert {a["labels"]["severity"] for a in alerts} == routed | {route["receiver"]}


def test_grafana_finds_its_source_and_our_dashboard():
    (source,) = config("grafana/provisioning/datasources/prometheus.yaml")["datasources"]
    name, _, port = source["url"].removeprefix("http://").partition(":")
    assert SERVICES[name]["ports"] == [f"127.0.0.1:{port}:{port}"]
    scrape = config("prometheus/prometheus.yaml")["global"]["scrape_interval"]
    assert source["jsonData"]["timeInterval"] == scrape
    (provider,) = config("grafana/provisioning/dashboards/basereward.yaml")["providers"]
    (mounted,) = (m for m in FILES if m[2] == provider["options"]["path"])
    boards = list((ROOT / "docker" / mounted[1]).glob("*.json"))
    assert boards
    types = {
        v["query"]
        for board in boards
        for v in json.loads(board.read_text("utf-8"))["templating"]["list"]
        if v["type"] == "datasource"
    }
    assert types == {source["type"]}
