"""Certificates for a test's own loopback server."""

import subprocess
from pathlib import Path


def certificate(folder: Path, name: str, key: str = "rsa:2048", *options: str) -> None:
    """A self-signed one for 127.0.0.1, at the same paths each time."""
    command = [
        *("openssl", "req", "-x509", "-newkey", key, *options, "-nodes", "-days", "2"),
        *("-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1"),
        *("-keyout", "key.pem", "-out", "cert.pem"),
    ]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
