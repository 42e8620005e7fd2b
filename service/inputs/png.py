"""A PNG without its metadata: only the chunks that make its pixels are left for the decoder."""

import struct
import zlib
from collections.abc import Iterator

from service.inputs.metadata import MAX_SEGMENTS, Metadata, too_many_segments

MAGIC = b"\x89PNG\r\n\x1a\n"
MAX_TEXT_BYTES = 2**20  # unpacked, of a text that may hold the orientation
_GREY, _RGB = 0, 2  # colour types
_MOVEMENT = (b"acTL", b"fcTL")
_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
_XMP, _EXIF_IN_HEX = b"XML:com.adobe.xmp", b"Raw profile type exif"


def without_metadata(data: bytes) -> tuple[bytes, Metadata]:
    """The picture's critical chunks and its transparency, and what the others say.

    Texts of any size, colour profiles, garbage and wrong checksums of what is left out cost nothing and refuse nothing.

    Raises:
        InvalidRequest: image_decode: more chunks than any encoder writes.
    """
    whole = memoryview(data)
    kept: list[bytes | memoryview] = [MAGIC]
    told, drawn = dict[bytes, bytes](), False
    for name, begin, end in _chunks(data):
        if not name[0] & 0x20:
            kept.append(whole[begin:end])
            drawn = drawn or name == b"IDAT"
        elif name == b"tRNS":
            kept.append(_transparency(data[begin + 8 : end - 4], *data[24:26]))
        elif name == b"eXIf" or (name in _MOVEMENT and not drawn):
            told.setdefault(name, data[begin + 8 : end - 4])
        elif name in _TEXTS and (keyword := _keyword(data, begin + 8)) and keyword not in told:
            told[keyword] = _text(name, data[begin + 9 + len(keyword) : end - 4])
    frames = int.from_bytes(told.get(b"acTL", b"")[:4], "big")
    # Without a frame's control before the pixels, they are a picture beside the frames.
    moving = frames > 1 or (frames == 1 and b"fcTL" not in told)
    exif = told.get(b"eXIf") or _from_hex(told.get(_EXIF_IN_HEX, b""))
    return b"".join(kept), Metadata(exif, told.get(_XMP, b""), moving)


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """(name, begin, end) up to the end of the picture; what cannot be followed is the last, for the decoder."""
    at = len(MAGIC)
    for _ in range(MAX_SEGMENTS):
        if at + 12 > len(data):
            break
        length, name = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        if end > len(data) or not name.isalpha():
            break
        yield name, at, end
        at = end
        if name == b"IEND":
            return
    else:
        raise too_many_segments()
    if at < len(data):
        yield b"REST", at, len(data)


def _transparency(key: bytes, depth: int, colour: int) -> bytes:
    """The chunk as the decoder compares it: with samples that it has brought to 8 bits, 16-bit grey excepted."""
    if colour == _GREY and depth in (2, 4):
        key = (int.from_bytes(key[:2], "big") * 255 // (2**depth - 1)).to_bytes(4, "big")[-2:]
    elif colour == _RGB and depth == 16:  # noqa: PLR2004 - bits a sample
        key = b"".join(b"\0" + key[i : i + 1] for i in (0, 2, 4))
    body = b"tRNS" + key
    return struct.pack(">I", len(key)) + body + struct.pack(">I", zlib.crc32(body))


def _keyword(data: bytes, at: int) -> bytes | None:
    """That of a text which may hold the orientation."""
    return next((k for k in (_XMP, _EXIF_IN_HEX) if data.startswith(k + b"\0", at)), None)


def _text(kind: bytes, rest: bytes) -> bytes:
    """What stands behind the keyword, unpacked; no more of it than may matter."""
    packed = kind == b"zTXt"
    if kind == b"zTXt":
        rest = rest[1:]
    elif kind == b"iTXt":
        packed = rest[:1] == b"\1"
        _, _, rest = rest[2:].partition(b"\0")  # language
        _, _, rest = rest.partition(b"\0")  # translated keyword
    try:
        text = zlib.decompressobj().decompress(rest, MAX_TEXT_BYTES) if packed else rest
    except zlib.error:
        return b""
    return text[:MAX_TEXT_BYTES]


def _from_hex(profile: bytes) -> bytes:
    """ImageMagick's form: three lines, the last with the length, then hexadecimal lines."""
    try:
        return bytes.fromhex(b"".join(profile.split(b"\n")[3:]).decode("ascii"))
    except ValueError:
        return b""
