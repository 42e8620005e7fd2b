"""The ops port: many at once, slow ones cut off, IPv4 and IPv6, and never a busy loop."""

import resource
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

import httpx
import pytest

from service.api import ops_port
from service.api.ops_port import OpsPort
from service.errors import StartError

WAIT_S = 20.0


class Answers:
    """In place of `Operations`."""

    def __init__(self) -> None:
        self.asked = 0

    def by_path(self, path: str):
        self.asked += 1
        known = path in ("/livez", "/metrics")
        return (200 if known else 404), path.encode() + b"\n", "text/plain; charset=utf-8"


@contextmanager
def opened(host: str = "127.0.0.1", answers: Answers | None = None):
    port = OpsPort(answers or Answers(), host, 0)
    port.start()
    try:
        yield port.bind().getsockname()[1]
    finally:
        port.stop()


def ask(port: int, request: bytes = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n", host="127.0.0.1"):
    with socket.create_connection((host, port), WAIT_S) as connection:
        connection.sendall(request)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def test_get_and_head_are_answered_alike_but_for_the_body():
    with opened() as port:
        got = ask(port)
        head = ask(port, b"HEAD /livez?a=b HTTP/1.1\r\nHost: x\r\n\r\n")
        assert got.startswith(b"HTTP/1.1 200 OK\r\n")
        assert got == head + b"/livez\n"
        assert ask(port, b"GET /nothing HTTP/1.0\n\n").startswith(b"HTTP/1.1 404 ")
        assert httpx.get(f"http://127.0.0.1:{port}/metrics").text == "/metrics\n"


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"POST /livez HTTP/1.1\r\nContent-Length: 1\r\n\r\nx", b"405"),
        (b"nonsense\r\n\r\n", b"400"),
        (b"GET /livez HTTP/2.0\r\n\r\n", b"400"),
        (b"GET /livez HTTP/1.1\r\nX: " + b"a" * 20_000 + b"\r\n\r\n", b"400"),
        (b"\r\n\r\n", b"400"),
    ],
)
def test_others_are_refused(request_, status):
    with opened() as port:
        answer = ask(port, request_)
        assert answer.split()[1] == status
        assert (b"Allow: GET, HEAD" in answer) is (status == b"405")
        assert ask(port).endswith(b"/livez\n")


def test_three_hundred_at_once_are_all_answered():
    with opened() as port, ThreadPoolExecutor(300) as pool:
        together = threading.Barrier(300)

        def probe(_: int) -> bytes:
            together.wait(WAIT_S)
            return ask(port)

        assert all(a.endswith(b"/livez\n") for a in pool.map(probe, range(300)))


def test_silent_and_slow_connections_are_cut_off_and_make_room(monkeypatch):
    monkeypatch.setattr(ops_port, "DEADLINE_S", 1.0)
    monkeypatch.setattr(ops_port, "OLD_S", 0.2)
    with opened() as port:
        slow = [socket.create_connection(("127.0.0.1", port), WAIT_S) for _ in range(300)]
        slow[0].sendall(b"GET /livez HTTP/1.1\r\n")
        assert ask(port).endswith(b"/livez\n")
        for connection in slow:
            with connection:
                connection.settimeout(WAIT_S)
                with suppress(ConnectionResetError):
                    assert connection.recv(1) == b""


def test_a_byte_now_and_then_does_not_extend_the_deadline(monkeypatch):
    monkeypatch.setattr(ops_port, "DEADLINE_S", 0.5)
    with opened() as port, socket.create_connection(("127.0.0.1", port)) as connection:
        sent = 0
        with suppress(OSError):  # it is closed
            while sent < 400:
                connection.sendall(b"G")
                sent += 1
                time.sleep(0.05)
        assert sent < 400


def test_without_files_it_waits_and_does_not_spin():
    with opened() as port:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        waiting = [socket.socket() for _ in range(3)]
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
            for connection in waiting:
                connection.connect(("127.0.0.1", port))
                connection.sendall(b"GET /livez HTTP/1.1\r\n\r\n")
            begun = time.process_time()
            time.sleep(1.0)
            spent_s = time.process_time() - begun
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert spent_s < 0.5
        for connection in waiting:
            with connection:
                connection.settimeout(WAIT_S)
                assert connection.recv(4096).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("host", ["::", "[::]"])
def test_both_families_are_taken(host):
    with opened(host) as port:
        assert ask(port).endswith(b"/livez\n")
        assert ask(port, host="::1").endswith(b"/livez\n")


def test_a_taken_port_is_one_line():
    with opened("::1") as port:
        with pytest.raises(StartError, match=rf"ops port \[::1\]:{port}: address already in use"):
            OpsPort(Answers(), "::1", port).bind()
        assert ask(port, host="::1").endswith(b"/livez\n")


def test_an_answer_that_fails_costs_its_connection_alone():
    class Failing(Answers):
        def by_path(self, path: str):
            if path == "/metrics":
                raise RuntimeError("no metrics")
            return super().by_path(path)

    with opened(answers=Failing()) as port:
        assert ask(port, b"GET /metrics HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 500 ")
        assert ask(port).endswith(b"/livez\n")
