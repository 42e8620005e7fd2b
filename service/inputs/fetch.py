"""The only code that opens a URL or a path: off unless the operator allows it, and then pinned and bounded."""

import ipaddress
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

import httpx

from service.errors import InvalidRequest

Resolve = Callable[[str, int], list[str]]
HTTPS_PORT = 443


def resolve(host: str, port: int) -> list[str]:
    """Every address the name has now."""
    return [str(info[4][0]) for info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


@dataclass(frozen=True, slots=True)
class FetchRules:
    hosts: frozenset[str] = frozenset()  # lower case; empty: no URL is allowed
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
            transport=transport, trust_env=False, follow_redirects=False, timeout=rules.timeout_s
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
        if parts.scheme != "https" or host not in self._rules.hosts or not plain:
            raise _not_allowed()
        return self._get(host, parts.port or HTTPS_PORT, parts.path or "/", parts.query)

    def _get(self, host: str, port: int, path: str, query: str) -> bytes:
        # Resolved once, every answer judged, and that very address dialled: a second look-up
        # between check and connect could answer otherwise (DNS rebinding).
        address = self._checked_address(host, port)
        netloc = f"[{address}]" if ":" in address else address
        url = f"https://{netloc}:{port}{path}" + (f"?{query}" if query else "")
        headers = {"Host": host if port == HTTPS_PORT else f"{host}:{port}", "Accept": "image/*"}
        try:
            with self._client.stream(
                "GET", url, headers=headers, extensions={"sni_hostname": host}
            ) as response:
                if response.status_code != httpx.codes.OK:
                    raise _failed(f"the host answered {response.status_code}")
                return self._read(response)
        except (httpx.HTTPError, httpx.InvalidURL):
            raise _failed("the picture could not be fetched") from None

    def _checked_address(self, host: str, port: int) -> str:
        try:
            addresses = self._resolve(host, port)
        except OSError:
            raise _failed("the host has no address") from None
        if not addresses:
            raise _failed("the host has no address")
        if not self._rules.allow_private and not all(map(_is_public, addresses)):
            raise _not_allowed()
        return addresses[0]

    def _read(self, response: httpx.Response) -> bytes:
        deadline = time.monotonic() + self._rules.timeout_s
        body = bytearray()
        for (
            chunk
        ) in response.iter_raw():  # raw: a compressed body is not unpacked, so it cannot explode
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
            target = Path(path).resolve(strict=True)
            inside = target.is_relative_to(root.resolve()) and target.is_file()
        except (OSError, ValueError, RuntimeError):  # RuntimeError: a symlink to itself
            inside = False
        if (
            not inside
        ):  # one answer for outside, missing and unreadable: no probing of the file system
            raise _not_allowed()
        self._check_bytes(target.stat().st_size)
        try:
            return target.read_bytes()
        except OSError:
            raise _failed("the file could not be read") from None

    def _check_bytes(self, size: int) -> None:
        if size > self._rules.max_bytes:
            raise InvalidRequest(
                f"the fetched picture exceeds {self._rules.max_bytes} bytes", code="image_too_large"
            )


def _split(url: str) -> SplitResult:
    if "\\" in url or any(ord(c) <= 32 for c in url):  # noqa: PLR2004 - control characters and space
        raise _not_allowed()
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises if it is no number
    except ValueError:
        raise _not_allowed() from None
    return parts


# Networks that lead to an IPv4 address inside them, or that Python counts as global though they are not.
_DETOURS = tuple(
    ipaddress.ip_network(net)
    for net in ("::/96", "64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32", "fec0::/10")
)


def _is_public(address: str) -> bool:
    ip = ipaddress.ip_address(address.partition("%")[0])
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    if mapped is not None:
        return mapped.is_global and not mapped.is_multicast
    return ip.is_global and not ip.is_multicast and not any(ip in net for net in _DETOURS)


def _not_allowed() -> InvalidRequest:
    return InvalidRequest("this server does not read that URL", code="url_not_allowed")


def _failed(message: str) -> InvalidRequest:
    return InvalidRequest(message, code="url_fetch_failed")
