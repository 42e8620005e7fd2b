"""The edge of the real command: upgrades offered, both families of addresses, few files, many connections."""

import gzip
import json
import resource
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from tests.live.conftest import ServerProcess, serving

ITEM = {"prompt": "Is all well?", "response": "Yes."}
BODY = json.dumps(ITEM)
WAIT_S = 20.0
JAVA = """
import java.net.URI;
import java.net.http.*;

public class Ask {
    public static void main(String[] a) throws Exception {
        var client = HttpClient.newHttpClient();
        for (int i = 0; i < 3; i++) {
            var asked = HttpRequest.newBuilder(URI.create(a[0] + "/score"))
                .header("Content-Type", "application/json")
                .POST(HttpRequest.BodyPublishers.ofString(a[1])).build();
            System.out.println(client.send(asked, HttpResponse.BodyHandlers.ofString()).body());
        }
    }
}
"""


@pytest.fixture(scope="module")
def expected(client) -> float:
    return client.post("/score", json=ITEM).json()["reward"]


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl_that_offers_http_2_is_answered(server, expected):
    command = ["curl", "-s", "--http2", "-H", "content-type: application/json", "-d", BODY]
    done = subprocess.run([*command, server.url + "/score"], capture_output=True, check=True)
    assert json.loads(done.stdout)["reward"] == pytest.approx(expected, abs=1e-4)


@pytest.mark.skipif(shutil.which("java") is None, reason="java is not installed")
def test_javas_client_is_answered(server, expected, tmp_path):
    (tmp_path / "Ask.java").write_text(JAVA)
    command = ["java", str(tmp_path / "Ask.java"), server.url, BODY]
    done = subprocess.run(command, capture_output=True, check=True, timeout=120)
    rewards = [json.loads(line)["reward"] for line in done.stdout.splitlines()]
    assert rewards == pytest.approx([expected] * 3, abs=1e-4)


def test_a_compressed_body_has_the_same_reward(client, expected):
    headers = {"content-encoding": "gzip", "content-type": "application/json"}
    answer = client.post("/score", content=gzip.compress(BODY.encode()), headers=headers)
    assert answer.json()["reward"] == pytest.approx(expected, abs=1e-4)


def test_a_head_too_large_is_431_and_a_malformed_one_400(server, client):
    for sent, status, code in (
        (b"GET / HTTP/1.1\r\nHost: x\r\nX-A: " + b"a" * 70_000, b"431", b"headers_too_large"),
        (b"GET / HTTP/1.1\r\n\r\n", b"400", b"malformed_request"),
    ):
        with socket.create_connection(("127.0.0.1", httpx.URL(server.url).port), WAIT_S) as one:
            one.sendall(sent)
            answer = b"".join(iter(lambda: one.recv(65536), b""))
        assert answer.split()[1] == status
        assert code in answer
        assert b"x-request-id" in answer.lower()
    rejected = client.get("/metrics").text
    assert 'basereward_rejections_total{reason="headers_too_large"} 1.0' in rejected


def test_one_server_listens_on_both_families():
    with serving("--host", "::", "--ops-port", "0") as server:
        url = httpx.URL(server.url)
        assert server.url.startswith("http://[::]:")
        ops = server.ready().logged("ops port")["port"]
        for host in ("127.0.0.1", "[::1]"):
            assert httpx.get(f"http://{host}:{url.port}/version").status_code == 200
            assert httpx.get(f"http://{host}:{ops}/readyz").status_code == 200
            assert httpx.head(f"http://{host}:{ops}/readyz").status_code == 200
        assert server.said(
            "no API key is set: whoever reaches this address may use the server; set api_key or api_key_file"
        )


def test_a_loopback_or_keyed_server_does_not_warn(server):
    assert not [line for line in server.lines if "no API key is set" in line]


def cpu_s(server: ServerProcess) -> float:
    status = Path(f"/proc/{server.process.pid}/stat").read_text()
    fields = status.rpartition(")")[2].split()
    return sum(map(int, fields[11:13])) / 100


def test_few_files_and_many_idle_connections_leave_callers_and_probes_be():
    """Idle connections make room for callers, and the ops port has files of its own."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    program = ("sh", "-c", 'ulimit -n 64; exec "$@"', "sh")
    with serving(
        "--ops-port", "0", program=(*program, sys.executable, "-m", "service", "serve")
    ) as server:
        port = httpx.URL(server.url).port
        ops = server.ready().logged("ops port")["port"]
        idle = [socket.create_connection(("127.0.0.1", port), WAIT_S) for _ in range(200)]
        begun, spent_s = time.monotonic(), cpu_s(server)
        for _ in range(5):
            assert httpx.get(f"http://127.0.0.1:{ops}/livez", timeout=WAIT_S).status_code == 200
            assert httpx.post(server.url + "/score", json=ITEM, timeout=WAIT_S).status_code == 200
        time.sleep(1.0)
        assert cpu_s(server) - spent_s < 0.7 * (time.monotonic() - begun)
        for connection in idle:
            connection.close()
        assert server.stop() == 0
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == before
