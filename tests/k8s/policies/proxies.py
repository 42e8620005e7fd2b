"""The files of HAProxy and NGINX, read as text: the same demands as of the other gateways."""

import re
from collections.abc import Iterator

from tests.k8s.manifests import seconds

_UNITS = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30}
# Bytes; two connections carry a request. Half of it was measured, the rest is for the kernel's buffers.
NGINX_CONNECTION = 2**15


def _without_comments(text: str) -> str:
    return re.sub(r"(?m)(^|\s)#.*$", "", text)


def _value(text: str, pattern: str, default: str) -> str:
    found = re.search(rf"(?m)^\s*{pattern}\s+([^\s;]+)", text)
    return found[1] if found else default


def haproxy(text: str, renewal: str, longest: float) -> Iterator[str]:
    text = _without_comments(text)
    for name in ("client", "server", "queue"):
        value = _value(text, f"timeout {name}", "0s")
        if seconds(value) < longest:
            yield f"timeout {name} {value} is shorter than a request may take ({longest:g} s)"
    wanted = {
        r"set-var\(txn\.group\) req\.hdr\(X-Group-Key\)": "must hash by X-Group-Key",
        r"balance hash var\(txn\.group\)": "must balance by the group",
        r"hash-type consistent": "must hash consistently",
        r"hash-balance-factor 1[0-9]{2}\b": "must bound the load of a replica",
        r"hash-key addr-port": "two HAProxy must have one ring: hash-key addr-port",
        r"bind :8443 ssl crt": "must end TLS: keys travel in headers",
    }
    yield from (fault for pattern, fault in wanted.items() if not re.search(pattern, text))
    if _value(text, "retry-on", "conn-failure") != "conn-failure" or "all-retryable" in text:
        yield "retries more than what was never sent: the client does that, with its deadline"
    if seconds(_value(text, "hold valid", "10s")) >= 10:  # the preStop sleep
        yield "remembers pods for longer than they wait before they close"
    if not _renews(text, renewal):
        yield "must serve a renewed certificate: renewal.lua needs the path and the admin socket"


def _renews(text: str, renewal: str) -> bool:
    admin = re.search(r"stats socket ipv4@(127\.0\.0\.1):(\d+) level admin", text)
    wanted = f'"{_value(text, "bind :8443 ssl crt", "")}"'
    if admin is None or not re.search(r"lua-load \S+/renewal\.lua", text):
        return False
    return wanted in renewal and f'("{admin[1]}", {admin[2]})' in renewal


def nginx(text: str, longest: float, keep_alive: float, body: int, memory: float) -> Iterator[str]:
    text = _without_comments(text)
    read = _value(text, "proxy_read_timeout", "60s")
    if seconds(read) < longest:
        yield f"proxy_read_timeout {read} is shorter than a request may take ({longest:g} s)"
    idle = re.search(r"keepalive \d+;\s*keepalive_timeout (\w+);", text)
    if not idle or seconds(idle[1]) >= keep_alive:
        yield f"keeps idle connections for longer than the server ({keep_alive:g} s)"
    number, unit = re.fullmatch(
        r"(\d+)([kmg]?)", _value(text, "client_max_body_size", "1m")
    ).groups()  # type: ignore[union-attr]
    if int(number) * _UNITS[unit] < body:
        yield f"client_max_body_size {number}{unit} is less than the server takes"
    if re.search(r"proxy_next_upstream [^;]*(http_|non_idempotent)", text):
        yield "retries more than what was never sent: the client does that, with its deadline"
    wanted = {
        r"listen 8443 ssl;": "must end TLS: keys travel in headers",
        r"proxy_request_buffering off;": "would write bodies to its disk",
        r"ssl_certificate \$\w+/.+;\s+ssl_certificate_key \$\w+/": "must serve a renewed certificate",
    }
    yield from (fault for pattern, fault in wanted.items() if not re.search(pattern, text))
    workers = _value(text, "worker_processes", "1")
    connections = int(_value(text, "worker_connections", "512"))
    if not workers.isdigit() or int(workers) * connections * NGINX_CONNECTION > memory:
        yield f"{workers} workers of {connections} connections may outgrow the memory limit"
    yield from _nginx_hashing(text)


def _nginx_hashing(text: str) -> Iterator[str]:
    hashed = re.search(r"(?m)^\s*hash \$hashed([^;]*);", text)
    if not hashed or not re.search(
        r'map \$http_x_group_key \$group \{\s*""\s+\$arg_group_key;', text
    ):
        yield "must hash by X-Group-Key"
    elif "consistent" in hashed[1] and " resolve" in text:
        yield "`consistent` with `resolve` takes turns: all addresses of a name are one entry of the ring"
    if not re.search(r'map \$group \$hashed \{\s*""\s+\$request_id;', text):
        yield "requests without a key must spread, not share one replica"
