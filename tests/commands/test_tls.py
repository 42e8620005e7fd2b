"""A certificate that is renewed beside the running server."""

import os
import ssl
from contextlib import suppress

from service.commands.tls import Tls
from service.files import Renewed
from tests.live.certificates import certificate


def renew(folder, name: str) -> None:
    certificate(folder, name)
    for path in folder.iterdir():
        os.utime(path, ns=(path.stat().st_mtime_ns + 10**9,) * 2)


def test_new_files_are_read_once_and_broken_ones_are_said(tmp_path):
    certificate(tmp_path, "one")
    tls = Tls(tmp_path / "cert.pem", tmp_path / "key.pem")
    first = tls.context
    assert tls.renew() is None
    assert tls.context is first
    renew(tmp_path, "two")
    assert tls.renew() is None
    second = tls.context
    assert second is not first
    assert tls.renew() is None
    assert tls.context is second
    (tmp_path / "cert.pem").write_text("half written")
    assert "not a certificate" in tls.renew()
    assert tls.renew() is None  # it is said once
    assert tls.context is second
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


def test_a_key_of_another_kind_takes_the_place_of_the_first(tmp_path):
    """A context keeps one certificate of each kind, and would go on with the old one."""
    certificate(tmp_path, "curve", "ec", "-pkeyopt", "ec_paramgen_curve:P-256")
    tls = Tls(tmp_path / "cert.pem", tmp_path / "key.pem")
    first = served(tls)
    renew(tmp_path, "two")
    assert tls.renew() is None
    assert served(tls) != first


def test_files_that_could_not_be_read_are_tried_again_though_they_stay_as_they_are(tmp_path):
    problems = ["locked", "locked", None, None]
    files = Renewed(lambda: problems.pop(0), tmp_path / "keys")
    (tmp_path / "keys").write_text("new")
    assert [files.renew() for _ in range(5)] == ["locked", None, None, None, None]
    assert problems == [None]
