"""Compressed request bodies, unpacked while they stream in: gzip and deflate, a bounded piece at a time."""

import zlib
from collections.abc import Iterator, Sequence

from service.errors import InvalidRequest

PIECE_BYTES = 512 * 2**10  # unpacked in one go; about 2 ms
SMALL_BYTES = 64 * 2**10  # may be unpacked of however little
ENCODINGS = {"gzip": "gzip", "x-gzip": "gzip", "deflate": "deflate"}
_ZLIB_HEAD_BYTES = 2


def encoding_of(headers: Sequence[str]) -> str | None:
    """The encoding that `Content-Encoding` names; None: the body is as it is.

    Raises:
        InvalidRequest: unsupported_media_type.
    """
    names = [name.strip().lower() for header in headers for name in header.split(",")]
    names = [name for name in names if name not in ("", "identity")]
    if not names:
        return None
    if len(names) > 1 or names[0] not in ENCODINGS:
        message = f"Content-Encoding {', '.join(names)[:64]!r} is not understood; send gzip, deflate or none"
        accepted = {"Accept-Encoding": "gzip, deflate"}
        raise InvalidRequest(message, code="unsupported_media_type", headers=accepted)
    return ENCODINGS[names[0]]


class Unpacker:
    """Of one body."""

    def __init__(self, encoding: str, max_ratio: int, code: str) -> None:
        """
        Args:
            encoding: gzip or deflate.
            max_ratio: bytes to which one byte may unpack.
            code: of the error where the body is not what its encoding claims.
        """
        self._encoding = encoding
        self._max_ratio = max_ratio
        self._code = code
        self._packed_bytes = self._unpacked_bytes = 0
        self._head = b""  # of a deflated body, until its form shows
        self._stream = zlib.decompressobj(zlib.MAX_WBITS | 16) if encoding == "gzip" else None

    def pieces(self, packed: bytes) -> Iterator[bytes]:
        """What it unpacks to, at most `PIECE_BYTES` at a time; the caller lets others run between two.

        Raises:
            InvalidRequest: not what the encoding claims; or body_too_large for the ratio.
        """
        self._packed_bytes += len(packed)
        if self._stream is None:
            packed, self._head = self._head + packed, b""
            if len(packed) < _ZLIB_HEAD_BYTES:
                self._head = packed
                return
            self._stream = zlib.decompressobj(_window_bits(packed))
        more = bool(packed)
        while more:
            stream = self._next_member()
            piece = self._piece(stream, packed)
            yield piece
            packed = stream.unconsumed_tail or stream.unused_data
            more = bool(packed) or (len(piece) == PIECE_BYTES and not stream.eof)

    def finish(self) -> None:
        """
        Raises:
            InvalidRequest: it ended early.
        """
        if self._packed_bytes and (self._stream is None or not self._stream.eof):
            raise self._broken("is cut short")

    def _next_member(self) -> "zlib._Decompress":
        """A gzip file is one member after another; a deflated body is one alone."""
        stream = self._stream
        assert stream is not None
        if stream.eof:
            if self._encoding != "gzip":
                raise self._broken("has more bytes behind its end")
            stream = self._stream = zlib.decompressobj(zlib.MAX_WBITS | 16)
        return stream

    def _piece(self, stream: "zlib._Decompress", packed: bytes) -> bytes:
        try:
            piece = stream.decompress(packed, PIECE_BYTES)
        except zlib.error:
            raise self._broken("is damaged, or something else") from None
        self._unpacked_bytes += len(piece)
        if self._unpacked_bytes > max(SMALL_BYTES, self._max_ratio * self._packed_bytes):
            message = (
                f"the body unpacks to more than {self._max_ratio} times its size; send it as it is"
            )
            raise InvalidRequest(message, code="body_too_large", headers={"Connection": "close"})
        return piece

    def _broken(self, how: str) -> InvalidRequest:
        message = f"the body {how}: Content-Encoding says {self._encoding}"
        return InvalidRequest(message, code=self._code, headers={"Connection": "close"})


def _window_bits(head: bytes) -> int:
    """Deflate is zlib's format (RFC 9110, 8.4.1.2); some send it bare."""
    is_zlib = head[0] & 0x0F == zlib.DEFLATED and int.from_bytes(head[:2], "big") % 31 == 0
    return zlib.MAX_WBITS if is_zlib else -zlib.MAX_WBITS
