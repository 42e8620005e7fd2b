"""A certificate that is renewed beside the running server."""

import os
import ssl
from contextlib import suppress

from service.commands.tls import Tls
from tests.live.certificates import certificate


def renew(folder, name: str) -> None:
    certificate(folder, name)
    for path in folder.iterdir():
        os.utime(path, ns=(path.stat().st_mtime_ns + 10**9,) * 2)


def test_new_files_are_read_once_and_broken_ones_are_said(tmp_path):
    certificate(tmp_path, "one")
    tls = Tls(tmp_path / "cert.pem", tmp_path / "key.pem")
    loads = []
    load, tls._load = tls._load, lambda: loads.append(1) or load()
    assert tls.renew() is None
    assert loads == []
    renew(tmp_path, "two")
    assert tls.renew() is None
    assert tls.renew() is None
    assert loads == [1]
    (tmp_path / "cert.pem").write_text("half written")
    assert "not a certificate" in tls.renew()
    renew(tmp_path, "three")
    assert tls.renew() is None


def served(tls: Tls) -> bytes:
    """The certificate that a new connection is shown; a handshake in memory."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    trusting = ssl._create_unverified_context()
    client = trusting.wrap_bio(to_client, to_server)
    server = tls.context.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(4):
        for end in (client, server):
            with suppress(ssl.SSLWantReadError):
                end.do_handshake()
    return client.getpeercert(binary_form=True)


def test_a_certificate_that_came_without_its_key_leaves_what_is_served_as_it_was(tmp_path):
    certificate(tmp_path, "one")
    tls = Tls(tmp_path / "cert.pem", tmp_path / "key.pem")
    first, key = served(tls), (tmp_path / "key.pem").read_bytes()
    renew(tmp_path, "two")
    new_key = (tmp_path / "key.pem").read_bytes()
    (tmp_path / "key.pem").write_bytes(key)  # a half exchanged pair
    assert "not a certificate and its key" in tls.renew()
    assert served(tls) == first
    (tmp_path / "key.pem").write_bytes(new_key)
    assert tls.renew() is None
    assert served(tls) != first
