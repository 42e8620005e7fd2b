"""Metadata never refuse pixels: whatever they are, the picture is what it is without them, turned as they say."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps

from service.errors import InvalidRequest
from service.inputs import jpeg, metadata
from service.inputs.images import ImageLimits, decode_image
from tests.inputs.kinds import UPRIGHT, blocks, turned
from tests.inputs.pictures import PNG_MAGIC, chunk, encoded, pixels, saved

LIMITS = ImageLimits(16_777_216)
RGB = blocks(3)
PLAIN_PNG, PLAIN_WEBP = encoded(RGB), encoded(RGB, "WEBP", lossless=True)
PLAIN_JPEG = encoded(RGB, "JPEG", quality=100, subsampling=0)
LARGE = bytes(1_200_000)
PACKED = zlib.compress(LARGE)


def decoded(data: bytes) -> np.ndarray:
    made = decode_image(data, LIMITS)
    return np.frombuffer(made.rgb, np.uint8).reshape(made.height, made.width, 3)


def tiff(*entries: bytes, order: str = "<", after: bytes = b"") -> bytes:
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}IH", 8, len(entries))
    return head + b"".join(entries) + bytes(4) + after


def entry(tag: int, kind: int, count: int, value: bytes) -> bytes:
    return struct.pack("<HHI", tag, kind, count) + value.ljust(4, b"\0")


TURN = entry(0x0112, 3, 1, b"\6\0")
ODD_EXIF = {
    "alone": tiff(TURN),
    "resolution-as-text": tiff(entry(0x011A, 2, 4, b"abc"), TURN),
    "model-as-a-rational": tiff(entry(0x0110, 5, 1, b"\x26"), TURN, after=struct.pack("<II", 1, 1)),
    "negative-resolution": tiff(
        entry(0x011A, 10, 1, b"\x26"), TURN, after=struct.pack("<ii", -72, 1)
    ),
    "width-as-text": tiff(entry(0x0100, 2, 4, b"abc"), TURN),
    "values-beyond-the-end": tiff(entry(0x010F, 2, 2**31, b"\xff\xff\xff\x7f"), TURN),
    "unknown-types": tiff(entry(0x9999, 77, 9, b"????"), TURN),
    "doubled-head": b"Exif\0\0" + tiff(TURN),
    "as-a-long": tiff(entry(0x0112, 4, 1, b"\6\0\0\0")),
    "more-entries-promised": tiff(TURN).replace(b"\x01\0", b"\xff\xff", 1),
    "sub-directory-into-itself": tiff(entry(0x8769, 4, 1, b"\x08\0\0\0"), TURN),
    "big-endian": tiff(struct.pack(">HHIHH", 0x0112, 3, 1, 6, 0), order=">"),
}
NO_TURN = {
    "empty": b"",
    "garbage": bytes(range(256)),
    "head-alone": b"II*\0",
    "directory-beyond-the-end": b"II*\0\xff\xff\xff\xff",
    "as-text": tiff(entry(0x0112, 2, 2, b"6")),
    "as-a-byte": tiff(entry(0x0112, 1, 1, b"\6")),
    "two-of-them": tiff(entry(0x0112, 3, 2, b"\6\0\6\0")),
    "nine": tiff(entry(0x0112, 3, 1, b"\x09\0")),
    "cut": tiff(TURN)[:18],
}


def in_jpeg(*segments: tuple[int, bytes]) -> bytes:
    parts = [b"\xff" + bytes([m]) + struct.pack(">H", len(b) + 2) + b for m, b in segments]
    return PLAIN_JPEG[:2] + b"".join(parts) + PLAIN_JPEG[2:]


def in_png(*chunks: bytes, after: bool = False) -> bytes:
    at = PLAIN_PNG.index(b"IEND") - 4 if after else len(PNG_MAGIC) + 25
    return PLAIN_PNG[:at] + b"".join(chunks) + PLAIN_PNG[at:]


def in_webp(*chunks: tuple[bytes, bytes], size: int | None = None) -> bytes:
    header = (
        b"VP8X"
        + struct.pack("<I", 10)
        + b"\x2c\0\0\0"
        + (127).to_bytes(3, "little")
        + (95).to_bytes(3, "little")
    )
    parts = [n + struct.pack("<I", len(b)) + b + b"\0" * (len(b) % 2) for n, b in chunks]
    body = b"WEBP" + header + PLAIN_WEBP[12:] + b"".join(parts)
    return b"RIFF" + struct.pack("<I", len(body) if size is None else size) + body


def wrong_sum(whole: bytes) -> bytes:
    return whole[:-4] + bytes(4)


def places(exif: bytes):
    yield PLAIN_JPEG, in_jpeg((0xE1, b"Exif\0\0" + exif))
    yield PLAIN_PNG, in_png(chunk(b"eXIf", exif))
    yield PLAIN_PNG, in_png(chunk(b"eXIf", exif), after=True)
    yield PLAIN_PNG, in_png(wrong_sum(chunk(b"eXIf", exif)))
    yield PLAIN_WEBP, in_webp((b"EXIF", exif))


@pytest.mark.parametrize("name", ODD_EXIF)
def test_the_orientation_is_read_beside_any_other_tag(name):
    for plain, data in places(ODD_EXIF[name]):
        assert np.array_equal(decoded(data), UPRIGHT[6](decoded(plain)))


@pytest.mark.parametrize("name", NO_TURN)
def test_exif_without_an_orientation_turns_and_refuses_nothing(name):
    for plain, data in places(NO_TURN[name]):
        assert np.array_equal(decoded(data), decoded(plain))


XMP = b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
PROFILE = b"\nexif\n%8d\n" % len(tiff(TURN)) + tiff(TURN).hex().encode() + b"\n"
ELSEWHERE = {
    "xmp-in-jpeg": (PLAIN_JPEG, in_jpeg((0xE1, b"http://ns.adobe.com/xap/1.0/\0" + XMP))),
    "xmp-in-png": (PLAIN_PNG, in_png(chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP))),
    "packed-xmp-in-png": (
        PLAIN_PNG,
        in_png(chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(XMP))),
    ),
    "xmp-in-webp": (PLAIN_WEBP, in_webp((b"XMP ", XMP))),
    "hex-in-png": (
        PLAIN_PNG,
        in_png(chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(PROFILE))),
    ),
    "two-segments": (
        PLAIN_JPEG,
        in_jpeg((0xE1, b"Exif\0\0" + tiff(TURN)[:12]), (0xE1, b"Exif\0\0" + tiff(TURN)[12:])),
    ),
}


@pytest.mark.parametrize("name", ELSEWHERE)
def test_the_orientation_is_found_wherever_pillow_finds_it(name):
    plain, data = ELSEWHERE[name]
    with Image.open(io.BytesIO(data)) as image:
        stock = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    assert np.array_equal(stock, UPRIGHT[6](decoded(plain)))
    assert np.array_equal(decoded(data), stock)


def test_exif_wins_over_xmp():
    data = in_jpeg(
        (0xE1, b"http://ns.adobe.com/xap/1.0/\0" + XMP),
        (0xE1, b"Exif\0\0" + tiff(entry(0x0112, 3, 1, b"\3"))),
    )
    assert np.array_equal(decoded(data), UPRIGHT[3](decoded(PLAIN_JPEG)))


ICC = b"icc\0\0" + PACKED
UNREAD = {
    "ztxt": in_png(chunk(b"zTXt", b"workflow\0\0" + PACKED)),
    "many-ztxt": in_png(*[chunk(b"zTXt", b"workflow\0\0" + PACKED)] * 100),
    "itxt": in_png(chunk(b"iTXt", b"workflow\0\1\0\0\0" + PACKED)),
    "text": in_png(chunk(b"tEXt", b"workflow\0" + LARGE)),
    "profile-in-hex": in_png(chunk(b"zTXt", b"Raw profile type exif\0\0" + PACKED)),
    "bad-zlib": in_png(chunk(b"zTXt", b"Raw profile type exif\0\0nonsense")),
    "colour-profile": in_png(chunk(b"iCCP", ICC)),
    "bad-colour-profile": in_png(chunk(b"iCCP", b"x")),
    "gamma-with-a-wrong-sum": in_png(wrong_sum(chunk(b"gAMA", bytes(4)))),
    "short-gamma": in_png(chunk(b"gAMA", b"")),
    "short-physical-size": in_png(chunk(b"pHYs", b"\0")),
    "text-with-a-wrong-sum": in_png(wrong_sum(chunk(b"tEXt", b"a\0b"))),
    "after-the-pixels": in_png(wrong_sum(chunk(b"tIME", b"")), after=True),
    "unknown": in_png(chunk(b"abCd", LARGE)),
    "still-in-an-apng": in_png(chunk(b"acTL", bytes(8))),
    "jpeg-colour-profile": in_jpeg(*[(0xE2, b"ICC_PROFILE\0\1\x02" + bytes(60_000))] * 30),
    "jpeg-bad-profile": in_jpeg((0xE2, b"ICC_PROFILE\0")),
    "jpeg-mpf": in_jpeg((0xE2, b"MPF\0garbage")),
    "jpeg-photoshop": in_jpeg((0xED, b"Photoshop 3.0\x008BIM\xff\xff")),
    "jpeg-short-jfif": in_jpeg((0xE0, b"JFIF\0")),
    "jpeg-comment": in_jpeg((0xFE, bytes(65_000))),
    "jpeg-junk": in_jpeg(*[(m, b"\xff\xd8\xff\xda junk") for m in range(0xE1, 0xF0) if m != 0xEE]),
    "jpeg-fill": PLAIN_JPEG[:2] + b"\xff" * 1000 + PLAIN_JPEG[2:],
    "webp-colour-profile": in_webp((b"ICCP", LARGE)),
    "webp-unknown": in_webp((b"ABCD", b"odd")),
    "webp-cut-metadata": in_webp((b"XMP ", LARGE))[:-1000],
}


@pytest.mark.parametrize("name", UNREAD)
def test_other_metadata_change_nothing(name):
    data = UNREAD[name]
    plain = {0xFF: PLAIN_JPEG, 0x89: PLAIN_PNG, ord("R"): PLAIN_WEBP}[data[0]]
    assert np.array_equal(decoded(data), decoded(plain))
    assert decode_image(data, LIMITS).warnings == ()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("orientation", UPRIGHT)
def test_every_orientation_is_pillow_s(kind, orientation):
    data = turned(kind, orientation, RGB)
    with Image.open(io.BytesIO(data)) as image:
        stock = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    assert np.array_equal(decoded(data), stock)


def scans(count: int, hidden: bytes = b"") -> bytes:
    """A progressive JPEG whose first refinement comes so many times."""
    data = saved(Image.fromarray(pixels(64, 64)[..., 0]), "JPEG", progressive=True)
    found = [(b, e) for m, b, e in jpeg._segments(data) if m == 0xDA]
    begin = found[1][0]
    after = jpeg._IN_SCAN.search(data, found[1][1]).start()
    return data[:after] + hidden + data[begin:after] * (count - 2) + b"\xff\xd9"


@pytest.mark.parametrize("hidden", [b"", b"\xff\xc4\x00\x06\xff\xd9\xff\xd9", b"\xff\x01" * 50])
def test_scans_are_counted_before_they_are_decoded(hidden, monkeypatch):
    assert decode_image(scans(jpeg.MAX_SCANS), LIMITS).width == 64

    def opened(*_, **__):
        raise AssertionError("the decoder saw it")

    monkeypatch.setattr(Image, "open", opened)
    with pytest.raises(InvalidRequest, match="more than 100 scans") as caught:
        decode_image(scans(jpeg.MAX_SCANS + 1, hidden), LIMITS)
    assert caught.value.code == "image_decode"


def test_what_stands_in_metadata_or_behind_the_picture_is_no_scan():
    thumbnail = b"\xff\xda" * 500
    assert np.array_equal(decoded(in_jpeg((0xE1, thumbnail))), decoded(PLAIN_JPEG))
    assert np.array_equal(decoded(PLAIN_JPEG + thumbnail), decoded(PLAIN_JPEG))


@pytest.mark.parametrize(
    "data",
    [
        in_png(chunk(b"teXt", b"") * (metadata.MAX_SEGMENTS + 1)),
        PLAIN_JPEG[:2] + b"\xff\xfe\0\2" * (metadata.MAX_SEGMENTS + 1) + PLAIN_JPEG[2:],
        PLAIN_JPEG[:-2] + b"\xff\x01" * (metadata.MAX_SEGMENTS + 1),
        in_webp(*[(b"ABCD", b"")] * (metadata.MAX_SEGMENTS + 1)),
    ],
    ids=["png", "jpeg", "jpeg-in-a-scan", "webp"],
)
def test_segments_are_limited(data):
    with pytest.raises(InvalidRequest, match="more than 65536 segments"):
        decode_image(data, LIMITS)


def palette_png(depth: int, *extra: bytes) -> bytes:
    row = b"\0" + bytes(40 * depth // 8)
    header = struct.pack(">IIBBBBB", 40, 32, depth, 3, 0, 0, 0)
    body = chunk(b"IDAT", zlib.compress(row * 32))
    return PNG_MAGIC + chunk(b"IHDR", header) + b"".join(extra) + body + chunk(b"IEND", b"")


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_a_palette_picture_at_odds_with_its_palette_is_shown_or_damaged(depth):
    one = chunk(b"PLTE", b"\xa7\x7a\x3d")
    assert decoded(palette_png(depth, one)).tolist()[0][0] == [0xA7, 0x7A, 0x3D]
    for extra in (
        (),
        (one, chunk(b"tRNS", bytes(300))),
        (chunk(b"tRNS", bytes(4)),),
        (chunk(b"PLTE", b"a"),),
    ):
        try:
            made = decode_image(palette_png(depth, *extra), LIMITS)
        except InvalidRequest as error:
            assert error.code == "image_decode"  # noqa: PT017 - Pillow shows some of them grey
        else:
            assert len(made.rgb) == 40 * 32 * 3


def test_whatever_a_decoder_raises_is_the_picture_s_fault(monkeypatch):
    data = encoded(pixels()[..., 0])
    for error in (ValueError, KeyError, RecursionError, struct.error, OSError, SystemError):

        def raises(*_, error=error):
            raise error("secret detail")

        for place in ("load", "convert", "tobytes"):
            with monkeypatch.context() as patch:
                patch.setattr(Image.Image, place, raises)
                with pytest.raises(InvalidRequest) as caught:
                    decode_image(data, LIMITS)
                assert caught.value.code == "image_decode"
                assert "secret" not in caught.value.message
