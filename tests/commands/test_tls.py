"""A certificate that is renewed beside the running server."""

import os

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
