"""The only code that opens a URL or a path: off unless the operator allows it, and then pinned and bounded."""

import ipaddress
import os
import queue
import socket
import stat
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

import httpx

from service.errors import InvalidRequest
from service.inputs.cutoff import Cutoff

Resolve = Callable[[str, int], list[str]]
HTTPS_PORT = 443


def resolve(host: str, port: int) -> list[str]:
    """Every address the name has now."""
    return [str(info[4][0]) for info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


@dataclass(frozen=True, slots=True)
class FetchRules:
    hosts: frozenset[str] = frozenset()  # HOST or HOST:PORT, lower case; empty: no URL is allowed
    allow_private: bool = False
    file_dir: Path | None = None  # None: no path is allowed
    timeout_s: float = 10.0
    max_bytes: int = 32 * 2**20


class Fetcher:
    """Reads a picture's bytes from an allowed https:// host or from below an allowed folder."""

    def __init__(
        self,
        rules: FetchRules,
        transport: httpx.BaseTransport | None = None,
        resolve: Resolve = resolve,
    ) -> None:
        self._rules = rules
        self._resolve = resolve
        # Proxies and .netrc of the environment would see URLs and add credentials; redirects could leave the host.
        self._client = httpx.Client(
            transport=transport,
            trust_env=False,
            follow_redirects=False,
            timeout=rules.timeout_s,
            limits=httpx.Limits(max_keepalive_connections=0),  # each fetch ends its own connection
        )

    def fetch(self, url: str) -> bytes:
        """The bytes behind an allowed URL.

        Raises:
            InvalidRequest: url_not_allowed, url_fetch_failed or image_too_large.
        """
        parts = _split(url)
        if parts.scheme == "file":
            return self._read_file(unquote(parts.path), parts.netloc)
        host = (parts.hostname or "").lower()
        plain = parts.username is None and parts.password is None
        port = HTTPS_PORT if parts.port is None else parts.port
        named = {f"{host}:{port}"} | ({host} if port == HTTPS_PORT else set())
        if parts.scheme != "https" or not named & self._rules.hosts or not plain:
            raise _not_allowed()
        return self._get(host, port, parts.path or "/", parts.query)

    def _get(self, host: str, port: int, path: str, query: str) -> bytes:
        # Resolved once, every answer judged, and that very address dialled: a second look-up
        # between check and connect could answer otherwise (DNS rebinding).
        deadline = time.monotonic() + self._rules.timeout_s
        address = self._checked_address(host, port)
        netloc = f"[{address}]" if ":" in address else address
        url = f"https://{netloc}:{port}{path}" + (f"?{query}" if query else "")
        headers = {"Host": host if port == HTTPS_PORT else f"{host}:{port}", "Accept": "image/*"}
        try:
            with Cutoff(deadline) as cutoff:
                extensions = {"sni_hostname": host, "trace": cutoff.trace}
                with self._client.stream(
                    "GET", url, headers=headers, extensions=extensions
                ) as response:
                    if response.status_code != httpx.codes.OK:
                        raise _failed(f"the host answered {response.status_code}")
                    return self._read(response, deadline)
        except (httpx.HTTPError, httpx.InvalidURL):
            late = time.monotonic() >= deadline
            message = "the fetch took too long" if late else "the picture could not be fetched"
            raise _failed(message) from None

    def _checked_address(self, host: str, port: int) -> str:
        addresses = self._addresses(host, port)
        if not addresses:
            raise _failed("the host has no address")
        if not self._rules.allow_private and not all(map(_is_public, addresses)):
            raise _not_allowed()
        return addresses[0]

    def _addresses(self, host: str, port: int) -> list[str]:
        """Looked up in a thread of its own: a look-up has no time limit that could be set."""
        found: queue.SimpleQueue[list[str]] = queue.SimpleQueue()

        def look_up() -> None:
            try:
                found.put(self._resolve(host, port))
            except OSError:
                found.put([])

        threading.Thread(target=look_up, name="resolve", daemon=True).start()
        try:
            return found.get(timeout=self._rules.timeout_s)
        except queue.Empty:
            raise _failed("the fetch took too long") from None

    def _read(self, response: httpx.Response, deadline: float) -> bytes:
        body = bytearray()
        for chunk in response.iter_raw():  # raw: a compressed body is not unpacked: no explosion
            body += chunk
            self._check_bytes(len(body))
            if time.monotonic() > deadline:
                raise _failed("the fetch took too long")
        return bytes(body)

    def _read_file(self, path: str, netloc: str) -> bytes:
        root = self._rules.file_dir
        if root is None or netloc not in ("", "localhost"):
            raise _not_allowed()
        try:
            if not Path(path).resolve().is_relative_to(root.resolve()):
                raise _not_allowed()
            # Judged once more when it is open: what stands at the path may be exchanged in between. A FIFO is not
            # waited for.
            file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except (OSError, ValueError, RuntimeError):  # RuntimeError: a link to itself
            raise _not_allowed() from None
        try:
            # One answer for outside, missing and unreadable: no probing of the file system.
            if not _is_file_below(file, root):
                raise _not_allowed()
            self._check_bytes(os.fstat(file).st_size)
            with os.fdopen(file, "rb", closefd=False) as opened:
                data = opened.read(self._rules.max_bytes + 1)
            self._check_bytes(len(data))
        except OSError:
            raise _failed("the file could not be read") from None
        finally:
            os.close(file)
        return data

    def _check_bytes(self, size: int) -> None:
        if size > self._rules.max_bytes:
            raise InvalidRequest(
                f"the fetched picture exceeds {self._rules.max_bytes} bytes", code="image_too_large"
            )


def _is_file_below(file: int, root: Path) -> bool:
    """Whether an open file is a plain one below the folder, by where the system says it is."""
    where = Path(f"/proc/self/fd/{file}").resolve()
    return stat.S_ISREG(os.fstat(file).st_mode) and where.is_relative_to(root.resolve())


def _split(url: str) -> SplitResult:
    if "\\" in url or any(ord(c) <= 32 for c in url):  # noqa: PLR2004 - control characters and space
        raise _not_allowed()
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises if it is no number
    except ValueError:
        raise _not_allowed() from None
    return parts


# Networks that lead to an IPv4 address inside them, or that Python's tables count as global though they are not.
_DETOURS = tuple(
    ipaddress.ip_network(net)
    for net in (
        *("192.0.0.0/24", "192.88.99.0/24"),
        *("::/96", "64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32", "fec0::/10"),
        *("3fff::/20", "5f00::/16"),
    )
)
_ISATAP = (0x00005EFE, 0x02005EFE)  # in the middle of an address that holds an IPv4 one (RFC 5214)


def _is_public(address: str) -> bool:
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            return _is_public(str(ip.ipv4_mapped))
        if int(ip) >> 32 & 0xFFFFFFFF in _ISATAP:
            return False
    detour = any(ip in net for net in _DETOURS if net.version == ip.version)
    return ip.is_global and not ip.is_multicast and not detour


def _not_allowed() -> InvalidRequest:
    return InvalidRequest("this server does not read that URL", code="url_not_allowed")


def _failed(message: str) -> InvalidRequest:
    return InvalidRequest(message, code="url_fetch_failed")
