"""A JPEG without its metadata, its scans counted."""

import re
from collections.abc import Iterator

from service.errors import InvalidRequest
from service.inputs.metadata import MAX_SEGMENTS, Metadata, too_many_segments

MAGIC = b"\xff\xd8\xff"
# A scan of a few bytes makes the decoder pass over every block of the picture: 20,000 of them in 693 kB took 17 s.
# Encoders write 1 to 10; no component can be refined by more than 64 coefficients of 14 bits.
MAX_SCANS = 100
_START_OF_SCAN, _END = 0xDA, 0xD9
_APPS = range(0xE0, 0xF0)
_JFIF, _ADOBE, _COMMENT = 0xE0, 0xEE, 0xFE
_BARE = (0x01, *range(0xD0, 0xD9))  # markers without a length: TEM, RST0 to RST7, SOI
_MARKER = re.compile(rb"\xff[^\x00\xff]")
_IN_SCAN = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")  # what ends the entropy-coded bytes
# Colour depends on whether it is there, not on what it says (libjpeg, jdapimin.c).
_PLAIN_JFIF = b"\xff\xe0\x00\x10JFIF\0\x01\x01\x00\x00\x01\x00\x01\x00\x00"
_LEAST_JFIF, _LEAST_ADOBE = 14, 12  # bytes; libjpeg passes over shorter ones
_EXIF, _XMP = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0"


def without_metadata(data: bytes) -> tuple[bytes, Metadata]:
    """The picture's own segments and the two that tell its colours, and what its metadata say.

    Raises:
        InvalidRequest: image_decode: more scans or segments than any encoder writes.
    """
    if sum(marker == _START_OF_SCAN for marker, _, _ in _segments(data)) > MAX_SCANS:
        raise InvalidRequest(f"the JPEG has more than {MAX_SCANS} scans", code="image_decode")
    whole, exif, xmp = memoryview(data), list[bytes](), b""
    kept: list[bytes | memoryview] = [whole[:2]]
    for marker, begin, end in _segments(data):
        if marker == _START_OF_SCAN:
            kept.append(whole[begin:])  # all scans, and what stands between them
            break
        if marker not in _APPS and marker != _COMMENT:
            kept.append(whole[begin:end])
            continue
        kept.append(_colours(marker, data[begin:end]))
        if data.startswith(_EXIF, begin + 4):  # one too long for a segment goes on in the next
            exif.append(data[begin + 4 + len(_EXIF) : end])
        elif data.startswith(_XMP, begin + 4):
            xmp = data[begin + 4 + len(_XMP) : end]
    return b"".join(kept), Metadata(b"".join(exif), xmp)


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """(marker, begin, end of its segment), as libjpeg goes through them, up to the end of the picture or of sense."""
    at, expected = 2, _MARKER
    for _ in range(MAX_SEGMENTS):
        found = expected.search(data, at)
        if found is None:
            return
        begin, marker = found.start(), data[found.end() - 1]
        if marker == _END:
            return
        at = found.end()
        if marker not in _BARE:
            if at + 2 > len(data):
                return
            at += max(2, int.from_bytes(data[at : at + 2], "big"))
        yield marker, begin, min(at, len(data))
        if marker == _START_OF_SCAN:
            expected = _IN_SCAN
        elif marker not in _BARE:
            expected = _MARKER
    raise too_many_segments()


def _colours(marker: int, segment: bytes) -> bytes:
    """What is left of a segment that is no pixels."""
    if marker == _JFIF and segment[4:9] == b"JFIF\0" and len(segment) - 4 >= _LEAST_JFIF:
        return _PLAIN_JFIF
    if marker == _ADOBE and segment[4:9] == b"Adobe" and len(segment) - 4 >= _LEAST_ADOBE:
        return segment
    return b""
