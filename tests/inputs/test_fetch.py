"""https:// pictures: pinned to the checked address, bounded in size and time, never redirected."""

import contextlib
import socket
import threading
import time

import httpx
import pytest

from service.errors import InvalidRequest
from service.inputs.fetch import Fetcher, FetchRules
from tests.inputs.network import HOST, PUBLIC, URL, Network, answered


def test_the_checked_address_is_dialled_in_the_hosts_name():
    network = Network()
    assert network.fetch(URL + "?size=2") == b"picture"
    (request,) = network.requests
    assert str(request.url) == f"https://{PUBLIC}/a.png?size=2"
    assert request.headers["host"] == HOST
    assert request.extensions["sni_hostname"] == HOST
    assert network.resolved == [(HOST, 443)]


def test_ipv6_is_dialled_in_brackets():
    network = Network(["2606:2800:220:1:248:1893:25c8:1946"])
    network.fetch(URL)
    assert network.requests[0].url.host == "2606:2800:220:1:248:1893:25c8:1946"


def test_a_port_goes_along():
    network = Network()
    network.fetch(f"https://{HOST}:8443/a.png", hosts=frozenset({f"{HOST}:8443"}))
    assert str(network.requests[0].url) == f"https://{PUBLIC}:8443/a.png"
    assert network.requests[0].headers["host"] == f"{HOST}:8443"
    assert network.resolved == [(HOST, 8443)]


@pytest.mark.parametrize("url", ["https://PICS.Example/a.png", "HTTPS://pics.EXAMPLE/a.png"])
def test_capitals_in_the_host_do_not_matter(url):
    network = Network()
    assert network.fetch(url) == b"picture"
    assert network.requests[0].extensions["sni_hostname"] == HOST


def test_nothing_of_the_environment_is_sent(monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    network = Network()
    network.fetch(URL)
    assert not {"authorization", "cookie"} & set(network.requests[0].headers)


def test_by_default_no_host_is_allowed():
    assert Network().refusal(hosts=frozenset()) == "url_not_allowed"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(status):
    network = Network(answer=answered(status, location="https://169.254.169.254/"))
    assert network.refusal() == "url_fetch_failed"
    assert len(network.requests) == 1


@pytest.mark.parametrize("status", [204, 206, 304, 401, 404, 500])
def test_another_answer_than_200_fails(status):
    assert Network(answer=answered(status)).refusal() == "url_fetch_failed"


@pytest.mark.parametrize(
    "error",
    [
        httpx.ConnectError(f"to {PUBLIC}"),
        httpx.ConnectTimeout("slow"),
        httpx.ReadTimeout("slow"),
        httpx.RemoteProtocolError("garbage"),
    ],
)
def test_a_broken_connection_fails_without_telling_details(error):
    assert Network(answer=error).refusal() == "url_fetch_failed"


def test_a_host_without_an_address_fails():
    assert Network([]).refusal() == "url_fetch_failed"

    class Nameless(Network):
        def resolve(self, host, port):
            raise OSError(f"no address for {host}")

    assert Nameless().refusal() == "url_fetch_failed"


class Endless(httpx.SyncByteStream):
    """Bytes without an end; counts what was taken of it."""

    def __init__(self, pause_s=0.0):
        self.pause_s = pause_s
        self.taken = 0

    def __iter__(self):
        while True:
            time.sleep(self.pause_s)
            self.taken += 100
            yield b"x" * 100


def test_a_body_beyond_the_limit_is_cut_off():
    stream = Endless()
    network = Network(answer=httpx.Response(200, stream=stream))
    assert network.refusal(max_bytes=1000) == "image_too_large"
    assert stream.taken == 1100


@pytest.mark.parametrize(("size", "fits"), [(1000, True), (1001, False)])
def test_the_size_limit(size, fits):
    network = Network(answer=answered(content=b"x" * size))
    if fits:
        assert network.fetch(URL, max_bytes=1000) == b"x" * 1000
    else:
        assert network.refusal(max_bytes=1000) == "image_too_large"


def test_a_body_that_drips_is_given_up():
    network = Network(answer=httpx.Response(200, stream=Endless(pause_s=0.02)))
    begun = time.monotonic()
    assert network.refusal(timeout_s=0.1) == "url_fetch_failed"
    assert time.monotonic() - begun < 10.0  # it would never end


def test_a_compressed_body_is_not_unpacked():
    headers = {"content-encoding": "gzip"}
    network = Network(answer=httpx.Response(200, headers=headers, stream=Endless()))
    assert network.refusal(max_bytes=500) == "image_too_large"


def test_another_port_of_an_allowed_host_is_not_dialled():
    assert Network().refusal(f"https://{HOST}:22/a.png") == "url_not_allowed"
    assert Network().refusal(f"https://{HOST}:0/a.png") == "url_not_allowed"
    assert Network().refusal(URL, hosts=frozenset({f"{HOST}:8443"})) == "url_not_allowed"


@pytest.mark.parametrize("sends", [b"", b"H", b"HTTP/1.1 103 Early Hints\r\n\r\n"])
def test_a_host_that_drips_its_head_is_cut_off_at_the_deadline(sends):
    """A byte in two seconds, or 103s, held a fetch for ever; 32 of them were all fetches of all tenants."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        stop = threading.Event()

        def drip():
            connection, _ = server.accept()
            with connection, contextlib.suppress(OSError):
                while not stop.wait(0.05):
                    connection.sendall(sends)

        thread = threading.Thread(target=drip)
        thread.start()
        port = server.getsockname()[1]
        rules = FetchRules(frozenset({f"{HOST}:{port}"}), allow_private=True, timeout_s=0.4)
        fetcher = Fetcher(rules, resolve=lambda host, port: ["127.0.0.1"])
        begun = time.monotonic()
        with pytest.raises(InvalidRequest) as caught:
            fetcher.fetch(f"https://{HOST}:{port}/a.png")
        took_s = time.monotonic() - begun
        stop.set()
        thread.join()
    assert caught.value.code == "url_fetch_failed"
    assert took_s < 5.0


def test_a_look_up_that_does_not_end_is_given_up():
    gate = threading.Event()
    fetcher = Fetcher(
        FetchRules(frozenset({HOST}), timeout_s=0.1), resolve=lambda *_: gate.wait(60) and []
    )
    with pytest.raises(InvalidRequest, match="too long"):
        fetcher.fetch(URL)
    gate.set()
