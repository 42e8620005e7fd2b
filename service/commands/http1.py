"""HTTP/1.1 as it is taken here: heads and trailers are bounded, upgrades ignored, malformed requests answered."""

from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from service.errors import InvalidRequest, ServiceError

VERSIONS = ("1.0", "1.1")


class Http1(HttpToolsProtocol):
    """uvicorn's, with a reason for whatever is refused before a request has begun.

    A refusal is handed to the application as `state["refusal"]`, so that it is answered, counted and logged like any
    other, and after the answers of the requests before it. Nothing more is read from its connection.
    """

    def __init__(self, max_header_bytes: int, **of_uvicorn: Any) -> None:
        super().__init__(**of_uvicorn)
        self._max_header_bytes = max_header_bytes
        self._line_bytes = (
            0  # that have come since the head, a chunk of the body or the trailers began
        )
        self._field_bytes = 0  # of the head or the trailers, as far as they have been read
        self._in_body = False
        self._has_ended_one = False  # in the piece that is being read
        self._refusal: ServiceError | None = None

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        while data and self._refusal is None:
            data = self._feed(data)

    def _feed(self, data: bytes) -> bytes:
        """Have the parser read; what it has yet to read."""
        piece, rest = data, b""
        if not self._in_body:  # a head's bytes are counted by pieces, until it is whole
            piece, rest = data[: self._max_header_bytes], data[self._max_header_bytes :]
        self._line_bytes += len(piece)
        self._has_ended_one = False
        try:
            self.parser.feed_data(piece)
        except httptools.HttpParserUpgrade as offer:
            # The parser stops behind the head, and takes the rest for another protocol's.
            head = self._head_without_offer()
            self._renew_parser()
            return head + piece[offer.args[0] :] + rest
        except httptools.HttpParserError:
            self._refuse(self._refusal or _malformed("the request is not valid HTTP/1.1"))
        else:
            if self._line_bytes > self._max_header_bytes:
                self._refuse(self._too_large())
        return rest

    # What the parser found

    def on_message_begin(self) -> None:
        if self._has_ended_one:  # else all of the piece is of this one
            self._line_bytes = 0
        self._field_bytes = 0
        self._in_body = False
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value) + len(": \r\n"))
        if not self._in_body:  # a trailer is no header: nobody has judged it
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if self.parser.should_upgrade():
            if self.parser.get_method() == b"CONNECT":
                self._stop(_malformed("CONNECT is for proxies, and this is none"))
            return  # it comes again, without the offer
        self._check_head()
        self._line_bytes = self._field_bytes = 0
        self._in_body = True
        if self._refusal is not None:
            self.scope["state"]["refusal"] = self._refusal
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._line_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        if self.parser.should_upgrade():
            return
        self._line_bytes = 0
        self._in_body = False
        self._has_ended_one = True
        super().on_message_complete()

    def _check_head(self) -> None:
        version = self.parser.get_http_version()
        if version not in VERSIONS:
            self._stop(_malformed(f"HTTP/{version} is not spoken here; send HTTP/1.1"))
        hosts = sum(name == b"host" for name, _ in self.headers)
        if hosts > 1 or (not hosts and version == "1.1"):
            self._stop(_malformed(f"the request has {hosts} Host headers; send one"))

    def _count(self, size: int) -> None:
        self._field_bytes += size
        if self._field_bytes > self._max_header_bytes:
            self._stop(self._too_large())

    def _too_large(self) -> ServiceError:
        what = "trailers and chunk extensions" if self._in_body else "request line and headers"
        message = f"the {what} exceed {self._max_header_bytes} bytes; send fewer or shorter ones"
        return InvalidRequest(message, code="headers_too_large")

    def _head_without_offer(self) -> bytes:
        """A server may ignore `Upgrade` (RFC 9110, 7.8); without it the parser reads the body."""
        version = self.parser.get_http_version().encode()
        lines = [b"%s %s HTTP/%s" % (self.parser.get_method(), self.url, version)]
        lines += [b"%s: %s" % field for field in self.headers if field[0] != b"upgrade"]
        return b"\r\n".join([*lines, b"", b""])

    def _renew_parser(self) -> None:
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does

    # Refusals

    def _stop(self, refusal: ServiceError) -> None:
        """Have the parser stop here."""
        self._refusal = refusal
        raise httptools.HttpParserError(refusal.message)

    def _refuse(self, refusal: ServiceError) -> None:
        self._refusal = refusal
        if not self._in_body:
            self._begin_refused()
        elif self.cycle.response_complete:
            self.transport.close()
        else:
            self.cycle.scope["state"]["refusal"] = refusal
            self.cycle.keep_alive = self.cycle.more_body = False
            self.cycle.message_event.set()

    def _begin_refused(self) -> None:
        """A request in the place of one that could not be read: the last of its connection."""
        self._renew_parser()
        self.parser.feed_data(b"GET / HTTP/1.1\r\nHost: -\r\nConnection: close\r\n\r\n")
        self.scope["path"] = ""


def _malformed(message: str) -> ServiceError:
    return InvalidRequest(message, code="malformed_request")
