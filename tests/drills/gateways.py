"""Real gateways with what `k8s/` configures: HAProxy and NGINX from its files, Envoy with its policies' numbers.

What depends on a cluster (DNS, ports, certificates) is replaced line by line, and each such line must be there.
Debian's HAProxy (2.6) and NGINX (1.22) are older than the images: what they do not know yet is left out alike.
"""

import signal
import socket
import ssl
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.drills.debian import installed
from tests.drills.envoy import envoy, write_endpoints
from tests.drills.traffic import wait_for
from tests.live.certificates import certificate

ROOT = Path(__file__).parents[2]
COMPONENTS = ROOT / "k8s" / "components"
NAMES = ("haproxy", "nginx", "envoy")


class Gateway:
    """A gateway that listens; ask it with its own certificate."""

    def __init__(
        self, name: str, port: int, folder: Path, process: subprocess.Popen[bytes]
    ) -> None:
        self.url = f"https://127.0.0.1:{port}"
        self._name, self._folder, self._process = name, folder, process
        self.trust = ssl.create_default_context(cafile=str(folder / "cert.pem"))

    def forget(self, replica: int, others: Sequence[int]) -> None:
        """As the cluster tells it when a pod begins to end, before the preStop sleep is over."""
        if self._name == "haproxy":
            with socket.socket(socket.AF_UNIX) as admin:
                admin.connect(str(self._folder / "admin"))
                admin.sendall(f"set server replicas/at-{replica} state maint\n".encode())
                assert admin.recv(1000).strip() == b""
        elif self._name == "envoy":
            write_endpoints(self._folder, others)
        elif self._name == "nginx":
            config = self._folder / "nginx.conf"
            line = f"        server 127.0.0.1:{replica} max_fails=0;"
            config.write_text(_put(config.read_text(), {line: ""}))
            self._process.send_signal(signal.SIGHUP)


@contextmanager
def gateway(name: str, replicas: Sequence[int], folder: Path, **options: bool) -> Iterator[Gateway]:
    """Args:
    name: one of NAMES.
    replicas: their ports.
    folder: of its own, for configuration and certificate.
    options: of Envoy, see `envoy`.
    """
    folder.mkdir()
    write_certificate(folder, name)
    port = free_port()
    make = {"haproxy": haproxy, "nginx": nginx, "envoy": envoy}[name]
    command = make(replicas, folder, port, **options)
    log = folder / "log"
    with log.open("w") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
    made = Gateway(name, port, folder, process)
    try:
        wait_for(lambda: answers(made) or process.poll() is not None)
        assert process.poll() is None, log.read_text()
        yield made
    finally:
        process.terminate()
        process.wait(30)


def write_certificate(folder: Path, name: str) -> None:
    """Also where HAProxy looks for it."""
    certificate(folder, name)
    (folder / "gateway.pem").write_text((folder / "cert.pem").read_text())
    (folder / "gateway.pem.key").write_text((folder / "key.pem").read_text())


def haproxy(replicas: Sequence[int], folder: Path, port: int) -> list[str]:
    text = (COMPONENTS / "routing-haproxy" / "haproxy.cfg").read_text()
    servers = "\n".join(f"  server at-{p} 127.0.0.1:{p}" for p in replicas)
    begin, end = text.index("resolvers cluster"), text.index("frontend https")
    admin = free_port()
    renewal = (COMPONENTS / "routing-haproxy" / "renewal.lua").read_text()
    (folder / "renewal.lua").write_text(_put(renewal, {
        "/run/secrets/reward/tls/gateway.pem": str(folder / "gateway.pem"),
        "8405": str(admin),
    }))  # fmt: skip
    text = _put(text[:begin] + text[end:], {
        "127.0.0.1:8405": f"127.0.0.1:{admin}",
        "/etc/reward/renewal.lua": str(folder / "renewal.lua"),
        "  tune.lua.bool-sample-conversion normal ": "",  # from 3.1
        "  hard-stop-after": f"  stats socket {folder}/admin level admin\n  hard-stop-after",
        "hash-key addr-port ": "",  # from 2.9; without it the place on the ring is the server's number
        " init-addr none resolvers cluster resolve-prefer ipv4": "",
        "  server-template replica 32 \"_http._tcp.reward-server-pods.${NAMESPACE}.svc.cluster.local\"": servers,
        "/run/secrets/reward/tls/gateway.pem": str(folder / "gateway.pem"),
        "bind :8443": f"bind 127.0.0.1:{port}",
        "bind :8404": f"bind 127.0.0.1:{free_port()}",
    })  # fmt: skip
    (folder / "haproxy.cfg").write_text(text)
    return [installed("haproxy"), "-W", "-f", str(folder / "haproxy.cfg")]


def nginx(replicas: Sequence[int], folder: Path, port: int) -> list[str]:
    text = (COMPONENTS / "routing-nginx" / "nginx.conf").read_text().replace("/tmp/", f"{folder}/")
    servers = "\n".join(f"        server 127.0.0.1:{p} max_fails=0;" for p in replicas)
    resolver = next(line for line in text.splitlines() if line.startswith("    resolver "))
    upstream = (
        "        server reward-server-pods.reward.svc.cluster.local:8000 resolve max_fails=0;"
    )
    text = _put(text, {
        resolver: "",
        upstream: servers,
        "        http2 on;\n": "",  # from 1.25, as a line of its own
        "listen 8443 ssl": f"listen 127.0.0.1:{port} ssl",
        "listen 8404": f"listen 127.0.0.1:{free_port()}",
        "/run/secrets/reward/tls/tls.crt": str(folder / "cert.pem"),
        "/run/secrets/reward/tls/tls.key": str(folder / "key.pem"),
        "error_log /dev/stderr warn;": "error_log stderr warn;\nuser root;",
    })  # fmt: skip
    (folder / "nginx.conf").write_text(text)
    command = [installed("nginx", "nginx-light"), "-e", "stderr", "-p", str(folder)]
    return [*command, "-c", str(folder / "nginx.conf"), "-g", "daemon off;"]


def answers(made: Gateway) -> bool:
    try:
        return httpx.get(made.url + "/version", verify=made.trust).status_code == 200
    except httpx.HTTPError:
        return False


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def _put(text: str, instead: dict[str, str]) -> str:
    for old, new in instead.items():
        assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in the configuration"
        text = text.replace(old, new)
    return text
