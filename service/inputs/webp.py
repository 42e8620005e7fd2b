"""A WebP without its metadata: the chunks of its frames, and a header that promises no others."""

import struct
from collections.abc import Iterator

from service.inputs.metadata import MAX_SEGMENTS, Metadata, too_many_segments

MAGIC, FORM = b"RIFF", b"WEBP"  # the file's size stands between them
_HEADER = b"VP8X"
_PIXELS = (_HEADER, b"ANIM", b"ANMF", b"ALPH", b"VP8 ", b"VP8L")
_ALPHA_AND_MOVEMENT = 0x12  # of the header's flags; the others announce metadata


def without_metadata(data: bytes) -> tuple[bytes, Metadata]:
    """The picture's own chunks, and what its EXIF and XMP say.

    Raises:
        InvalidRequest: image_decode: more chunks than any encoder writes.
    """
    kept, told = [], {b"EXIF": b"", b"XMP ": b""}
    for name, begin, end in _chunks(data):
        if name == _HEADER:
            flags = bytes([data[begin + 8] & _ALPHA_AND_MOVEMENT]) if end > begin + 8 else b""
            kept.append(data[begin : begin + 8] + flags + data[begin + 9 : end])
        elif name in _PIXELS:
            kept.append(data[begin:end])
        elif name in told:
            told[name] = data[begin + 8 : end]
    body = FORM + b"".join(kept)
    return MAGIC + struct.pack("<I", len(body)) + body, Metadata(told[b"EXIF"], told[b"XMP "])


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """(name, begin, end with its padding); the last may be cut short."""
    at = 12
    for _ in range(MAX_SEGMENTS):
        if at + 8 > len(data):
            return
        name, length = struct.unpack_from("<4sI", data, at)
        end = min(at + 8 + length + length % 2, len(data))
        yield name, at, end
        at = end
    raise too_many_segments()
