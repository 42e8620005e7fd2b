"""Listening sockets of both ports: IPv4, IPv6, or both at `::`."""

import socket

from service.errors import StartError


def listen(host: str, port: int, backlog: int, name: str = "") -> socket.socket:
    """
    Args:
        host: an address or a name; `::` takes IPv4 connections too. Brackets are taken off.
        port: 0 picks a free one.
        backlog: connections that the kernel may hold before they are accepted.
        name: of the port, for the message.

    Raises:
        StartError: the address cannot be had.
    """
    host = host.removeprefix("[").removesuffix("]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    both = host == "::" and socket.has_dualstack_ipv6()
    try:
        return socket.create_server(
            (host, port), family=family, backlog=backlog, dualstack_ipv6=both
        )
    except OSError as error:
        reason = (error.strerror or "the address cannot be used").lower()
        raise StartError(f"cannot listen on {name}{_written(host)}:{port}: {reason}") from None


def address(listener: socket.socket) -> str:
    """`HOST:PORT` as in a URL: an IPv6 address stands in brackets."""
    host, port = listener.getsockname()[:2]
    return f"{_written(host)}:{port}"


def _written(host: str) -> str:
    return f"[{host}]" if ":" in host else host
