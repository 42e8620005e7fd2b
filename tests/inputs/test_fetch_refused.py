"""URLs and addresses that are never dialled: private ones, other hosts, and hosts in disguise."""

import pytest

from service.errors import InvalidRequest
from tests.inputs.network import HOST, PUBLIC, URL, Network

NOT_PUBLIC = [
    "127.0.0.1",
    "127.8.8.8",
    "0.0.0.0",
    "::1",
    "::",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "169.254.169.254",
    "10.0.0.1",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "100.64.0.1",
    "100.127.255.255",
    "192.0.2.1",
    "198.18.0.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "fe80::1",
    "fe80::1%eth0",
    "fc00::1",
    "fd12:3456::1",
    "ff02::1",
    "fec0::1",
    "::127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b:1::a00:1",
    "2002:7f00:1::",
    "2001:db8::1",
]


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_an_address_that_is_not_public_is_never_dialled(address):
    for addresses in ([address], [PUBLIC, address], [address, PUBLIC]):
        network = Network(addresses)
        with pytest.raises(InvalidRequest) as caught:
            network.fetch(URL)
        assert caught.value.code == "url_not_allowed"
        assert network.requests == []


@pytest.mark.parametrize("address", ["10.0.0.1", "127.0.0.1", "fd12:3456::1"])
def test_the_operator_may_allow_private_addresses(address):
    assert Network([address]).fetch(URL, allow_private=True) == b"picture"


REFUSED_URLS = [
    f"http://{HOST}/a.png",
    f"ftp://{HOST}/a.png",
    f"gopher://{HOST}/a.png",
    "https://other.example/a.png",
    f"https://evil.{HOST}/a.png",
    f"https://{HOST}.evil.example/a.png",
    f"https://{HOST}./a.png",
    f"https://x{HOST}/a.png",
    f"https://user@{HOST}/a.png",
    f"https://user:pass@{HOST}/a.png",
    f"https://@{HOST}/a.png",
    f"https://{HOST}@evil.example/a.png",
    f"https://evil.example#@{HOST}/a.png",
    f"https://evil.example\\@{HOST}/a.png",
    f"https://{HOST}\\.evil.example/a.png",
    f"https:\\\\{HOST}/a.png",
    f"https://{HOST}/a b.png",
    f"https://{HOST}/a.png\r\nX-Evil: 1",
    f"https://{HOST}\t/a.png",
    f"https://{HOST}\0/a.png",
    f"https://{HOST}:99999/a.png",
    f"https://{HOST}:x/a.png",
    "https://2130706433/a.png",
    "https://0x7f000001/a.png",
    "https://0177.0.0.1/a.png",
    "https://127.1/a.png",
    "https://127.0.0.1/a.png",
    "https://[::1]/a.png",
    "https://[::ffff:127.0.0.1]/a.png",
    "https://[::1/a.png",
    "https:///a.png",
    "https://",
    "https://ｐics.example/a.png",
    "https://pics%2eexample/a.png",
]


@pytest.mark.parametrize("url", REFUSED_URLS)
def test_url_is_refused_without_a_look_up(url):
    network = Network()
    with pytest.raises(InvalidRequest) as caught:
        network.fetch(url)
    assert caught.value.code == "url_not_allowed"
    assert network.resolved == network.requests == []


@pytest.mark.parametrize(
    "url",
    [
        pytest.param(f"https://{HOST}/" + "a" * 70_000, id="too-long"),
        pytest.param(f"https://{HOST}/a\x7f.png", id="control-character"),
    ],
)
def test_a_url_that_cannot_be_asked_for_is_an_error_of_ours(url):
    assert Network().refusal(url) in {"url_not_allowed", "url_fetch_failed"}
