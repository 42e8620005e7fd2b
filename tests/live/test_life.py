"""How a server ends: drained, hurried, in the middle of loading, of a step that never ends, or given up by itself."""

import fcntl
import os
import socket
import ssl
import subprocess
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import httpx
import pytest

from service.lifecycle import ANSWER_S
from tests.drills.wire import free_port
from tests.live.certificates import certificate
from tests.live.conftest import START_S, ServerProcess, serving
from tests.models import reward

FAULTY = (sys.executable, "-m", "tests.live.faulty")
ITEM = {"prompt": "Is all well?", "response": "Yes."}
SLACK_S = 5.0  # of a busy machine


@contextmanager
def faulty(*flags: str):
    with serving(*flags, program=FAULTY) as server, ThreadPoolExecutor() as pool:
        server.pool = pool
        yield server


def ask(server: ServerProcess, body=ITEM) -> Future[httpx.Response]:
    return server.pool.submit(httpx.post, server.url + "/score", json=body, timeout=60)


def running(server: ServerProcess, sample: str = "basereward_running_items 1.0") -> None:
    """Return once a step stands in the model, or whatever else the metrics have to say."""
    deadline = time.monotonic() + 30
    while sample not in httpx.get(server.url + "/metrics").text:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def told_to_come_again(answer: httpx.Response) -> bool:
    return answer.status_code == 503 and "retry-after" in answer.headers


def test_it_stands_for_the_real_thing():
    with faulty() as server:
        server.ready()
        answer = ask(server).result()
        assert answer.json()["reward"] == reward(**ITEM)
        assert server.stop() == 0


def test_a_step_that_ends_within_the_drain_is_answered():
    with faulty("--drain-s", "20") as server:
        server.ready().tell("hold")
        answer = ask(server)
        running(server)
        server.term()
        server.logged("draining")
        server.tell("release")
        assert answer.result().json()["reward"] == reward(**ITEM)
        assert server.wait() == 0


def test_a_step_that_never_ends_is_left_after_the_drain_and_its_caller_told():
    with faulty("--drain-s", "1") as server:
        server.ready().tell("hold")
        answer = ask(server)
        running(server)
        begun = time.monotonic()
        assert server.stop() == 1
        assert time.monotonic() - begun < 1 + ANSWER_S + SLACK_S
        assert told_to_come_again(answer.result())
        assert server.logged("a step did not end in time")["lost_responses"] == 1
        assert server.logged("stopped")
        assert "terminate called" not in "".join(server.lines)


def test_a_second_signal_is_now():
    with faulty("--drain-s", "60") as server:
        server.ready().tell("hold")
        answer = ask(server)
        running(server)
        queued = ask(server, ITEM | {"prompt": "And this?"})
        running(server, "basereward_inflight_requests 3.0")  # these two, and who asks
        server.term()
        server.logged("draining")
        begun = time.monotonic()
        assert server.stop() == 1
        assert time.monotonic() - begun < SLACK_S
        assert told_to_come_again(answer.result())
        assert told_to_come_again(queued.result())


def upload(server: ServerProcess) -> socket.socket:
    """A connection with a request whose body is still coming."""
    url = httpx.URL(server.url)
    connection = socket.create_connection((url.host, url.port), timeout=30)
    connection.sendall(b"POST /score HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
    return connection


def test_who_is_still_uploading_when_the_drain_ends_is_told_to_come_again():
    with faulty("--drain-s", "1") as server:
        with upload(server.ready()) as connection:
            running(server, "basereward_inflight_requests 2.0")  # and who asks
            server.term()
            answer = connection.makefile("rb").read().lower()
        assert answer.startswith(b"http/1.1 503")
        assert b"retry-after:" in answer
        assert b'"draining"' in answer
        assert server.wait() == 0
        assert [line["status"] for line in server.said("request") if line["path"] == "/score"] == [
            503
        ]


def test_a_second_signal_is_now_for_who_is_still_uploading_too():
    with faulty("--drain-s", "60") as server:
        server.ready().tell("hold")
        answer = ask(server)
        running(server)
        with upload(server):
            running(server, "basereward_inflight_requests 3.0")
            server.term()
            server.logged("draining")
            begun = time.monotonic()
            assert server.stop() == 1
            assert time.monotonic() - begun < SLACK_S
        assert told_to_come_again(answer.result())
        assert "terminate called" not in "".join(server.lines)


def test_told_to_stop_while_the_model_loads_it_stops():
    with faulty("--loads-for-ever") as server:
        assert httpx.get(server.url + "/readyz").text == "the model is loading\n"
        begun = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - begun < SLACK_S


def test_a_lost_device_ends_the_process_and_says_so():
    with faulty() as server:
        server.ready().tell("lost")
        assert told_to_come_again(ask(server).result())
        assert server.wait() == 1
        assert "illegal memory access" in server.logged("the device is lost")["exception"]
        assert "device" in server.logged("giving up")["reason"]


def test_rewards_that_drift_end_the_process_so_that_it_is_started_anew():
    with faulty("--golden-interval-s", "0.5") as server:
        server.ready().tell("drift")
        assert server.wait() == 1
        assert "not reproduced any more" in server.logged("giving up")["reason"]


def test_what_ended_it_can_be_scraped_before_it_is_gone():
    with faulty("--ops-port", "0") as server:
        ops = f"http://127.0.0.1:{server.ready().logged('ops port')['port']}"
        server.tell("lost")
        assert told_to_come_again(ask(server).result())
        server.logged("giving up")
        time.sleep(0.5)
        assert server.process.poll() is None
        assert httpx.get(ops + "/readyz").status_code == 503
        lost = 'basereward_failed_steps_total{kind="device_lost"} 1.0'
        assert lost in httpx.get(ops + "/metrics").text
        begun = time.monotonic()
        assert server.wait() == 1
        assert time.monotonic() - begun < SLACK_S


def test_told_to_end_it_waits_for_no_scrape():
    with faulty("--ops-port", "0") as server:
        server.ready().tell("lost")
        assert told_to_come_again(ask(server).result())
        server.logged("giving up")
        begun = time.monotonic()
        assert server.stop() == 1
        assert time.monotonic() - begun < SLACK_S


def test_it_ends_though_nobody_reads_its_log():
    with stuck_pipe() as stderr:
        command = [*FAULTY, "--port", str(port := free_port()), "--drain-s", "1"]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=stderr)
        try:
            until_it_answers(f"http://127.0.0.1:{port}/livez")
            for _ in range(100):
                httpx.get(f"http://127.0.0.1:{port}/version")
            process.terminate()
            assert process.wait(1 + ANSWER_S + 2 * SLACK_S) == 0
        finally:
            process.kill()


@contextmanager
def stuck_pipe():
    """The end of a small one that is written to; nobody reads."""
    read, write = os.pipe()
    fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, 4096)
    try:
        yield write
    finally:
        os.close(write)
        os.close(read)


def until_it_answers(url: str) -> None:
    deadline = time.monotonic() + START_S
    while True:
        try:
            return httpx.get(url)
        except httpx.TransportError:
            assert time.monotonic() < deadline
            time.sleep(0.1)


def test_both_ports_listen_on_an_ipv6_address():
    with faulty("--host", "::1", "--ops-port", "0") as server:
        ops = server.ready().logged("ops port")["port"]
        assert httpx.get(f"http://[::1]:{ops}/readyz").status_code == 200
        assert server.stop() == 0


# TLS


def test_the_public_port_speaks_tls_and_the_ops_port_does_not(tmp_path):
    certificate(tmp_path, "one")
    files = ("--tls-cert-file", f"{tmp_path}/cert.pem", "--tls-key-file", f"{tmp_path}/key.pem")
    with faulty(*files, "--ops-port", "0") as server:
        ops = server.ready().logged("ops port")["port"]
        assert server.url.startswith("https://")
        trusted = ssl.create_default_context(cafile=str(tmp_path / "cert.pem"))
        answer = httpx.post(server.url + "/score", json=ITEM, verify=trusted)
        assert answer.json()["reward"] == reward(**ITEM)
        with pytest.raises(httpx.ConnectError, match="certificate verify failed"):
            httpx.post(server.url + "/score", json=ITEM)
        with pytest.raises(httpx.TransportError):
            httpx.get(server.url.replace("https", "http") + "/version")
        assert httpx.get(f"http://127.0.0.1:{ops}/readyz").status_code == 200
        assert server.stop() == 0


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--tls-cert-file", "cert.pem"), "tls_cert_file and tls_key_file go together"),
        (("--tls-cert-file", "none.pem", "--tls-key-file", "none.pem"), "no such file"),
        (
            ("--tls-cert-file", __file__, "--tls-key-file", __file__),
            "not a certificate and its key",
        ),
    ],
)
def test_tls_that_cannot_be_stops_the_start(flags, said):
    with serving(*flags) as server:
        assert server.wait() == 1
        assert said.lower() in "".join(server.lines).lower()


def test_a_thread_that_never_ends_does_not_keep_the_process():
    with faulty("--drain-s", "5") as server:
        server.ready().tell("occupy")
        begun = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - begun < 5 + ANSWER_S + SLACK_S
        assert server.logged("stopped")


def test_answers_of_a_drain_are_their_connections_last():
    with faulty("--drain-s", "20") as server:
        url = server.ready().url
        with httpx.Client(base_url=url, timeout=60) as busy, httpx.Client(base_url=url) as idle:
            assert "connection" not in idle.post("/score", json=ITEM).headers
            busy.post("/score", json=ITEM)
            server.tell("hold")
            accepted = server.pool.submit(busy.post, "/score", json=ITEM)
            running(server)
            server.term()
            server.logged("draining")
            answer = idle.post("/score", json=ITEM)  # on the connection that it has
            assert told_to_come_again(answer)
            assert answer.headers["connection"] == "close"
            server.tell("release")
            answer = accepted.result()
            assert (answer.status_code, answer.headers["connection"]) == (200, "close")
        assert server.wait() == 0
