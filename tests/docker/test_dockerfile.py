"""What a reader of the Dockerfile may rely on; that the built image does it is `make image`'s affair."""

import json
import re
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from service.settings import Settings
from service.sources import env_name
from tests.docker.files import ROOT, environment, instructions, last_stage

CACHES = ("CUDA_CACHE_PATH", "HF_HOME", "TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR")


def only(word: str) -> str:
    (rest,) = (rest for w, rest in last_stage() if w == word)
    return rest


def test_every_stage_is_of_the_base_that_was_asked_for():
    stages = [rest for word, rest in instructions() if word == "FROM"]
    names = {"${BASE}", *(stage.split(" AS ")[1] for stage in stages if " AS " in stage)}
    assert {stage.split(" AS ")[0] for stage in stages} <= names
    assert stages[0].startswith("${BASE}")
    assert stages[-1] == "${BASE}"
    assert instructions()[0] == ("ARG", "BASE=python:3.11-slim-bookworm")


def test_it_runs_as_a_number_and_without_a_shell():
    assert only("USER") == "10001:10001"
    assert json.loads(only("ENTRYPOINT")) == ["/opt/basereward/bin/basereward"]
    assert json.loads(only("CMD")) == ["serve"]
    assert only("STOPSIGNAL") == "SIGTERM"
    assert json.loads(only("HEALTHCHECK").partition(" CMD ")[2])[-1].endswith("/healthcheck.py")


def test_ports_are_those_it_listens_on():
    ports = only("EXPOSE").split()
    assert ports == [str(Settings().port), environment()["BASEREWARD_OPS_PORT"]]


def test_caches_are_where_it_may_write():
    told = environment()
    assert all(told[name].startswith("/tmp/") for name in (*CACHES, "XDG_CACHE_HOME"))
    assert told["HOME"] == "/tmp"
    assert told["HF_HUB_OFFLINE"] == "1"


def test_settings_it_sets_exist():
    known = {env_name(name) for name in Settings.model_fields}
    assert {name for name in environment() if name.startswith("BASEREWARD_")} <= known


def test_installs_are_locked_by_hash():
    runs = [rest for word, rest in instructions() if word == "RUN"]
    for run in runs:
        for line in re.findall(r"-r \"?/locks/", run):
            assert line
            assert "${LOCKED}" in run
    told = " ".join(rest for word, rest in instructions() if word == "ENV")
    assert 'LOCKED="--require-hashes --only-binary :all:"' in told
    assert sum("${LOCKED}" in run for run in runs) == 3


def test_layers_come_in_the_order_of_their_changes():
    copies = [rest.split()[0] for word, rest in last_stage() if word == "COPY"]
    assert copies == ["--from=torch", "--from=dependencies", "--from=app"]


def test_labels_come_from_arguments():
    arguments = {rest.rstrip("=") for word, rest in last_stage() if word == "ARG"}
    assert arguments == {"SOURCE", "VERSION", "REVISION"}
    label = only("LABEL")
    for name in arguments:
        assert f'image.{name.lower()}="${{{name}}}"' in label


def test_no_heredocs():
    assert "<<" not in (ROOT / "Dockerfile").read_text("utf-8")


def test_only_what_is_copied_is_sent_to_the_builder():
    text = (ROOT / ".dockerignore").read_text("utf-8")
    rules = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert rules[0] == "*"
    allowed = {rule[1:] for rule in rules if rule.startswith("!")}
    copied = {
        source
        for word, rest in instructions()
        if word == "COPY" and not rest.startswith("--from")
        for source in rest.split()[:-1]
    }
    assert allowed == copied | {"docker/locks"}
    assert all((ROOT / path).exists() for path in allowed)


class Probe(BaseHTTPRequestHandler):
    status = 200

    def do_GET(self) -> None:
        self.send_response(self.status if self.path == "/readyz" else 404)
        self.end_headers()
        self.wfile.write(b"so it is\n")

    def log_message(self, *_: object) -> None:
        pass


def health_check(**variables: str) -> tuple[int, str]:
    command = [sys.executable, "-I", str(ROOT / "docker" / "healthcheck.py")]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout


@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1)])
@pytest.mark.parametrize("ops", [True, False])
def test_the_health_check_asks_whether_it_is_ready(status, code, ops):
    """On the ops port, or on the public one where somebody has unset that."""
    handler = type("Handler", (Probe,), {"status": status})
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        port = str(server.server_address[1])
        variables = {"BASEREWARD_OPS_PORT": port if ops else "", "BASEREWARD_PORT": port}
        assert health_check(**variables, http_proxy="127.0.0.1:9") == (code, f"{status} so it is\n")


def test_the_health_check_fails_where_nobody_answers():
    with HTTPServer(("127.0.0.1", 0), Probe) as server:
        port = str(server.server_address[1])
    code, said = health_check(BASEREWARD_OPS_PORT=port)
    assert code == 1
    assert said.startswith("no answer on port")
