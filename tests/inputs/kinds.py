"""Every kind of picture that has to score, with the RGB it has to decode to, computed without Pillow."""

import numpy as np
import pytest
from PIL import Image

from tests.inputs.pictures import chunk, encoded, moving, pixels, png_file, saved

RNG = np.random.default_rng(7)
WIDTH, HEIGHT = 40, 30
SIZE = (WIDTH, HEIGHT)
RGB = pixels(WIDTH, HEIGHT)
GREY = RGB[..., 0]
ALPHA = RNG.integers(0, 256, (HEIGHT, WIDTH), dtype=np.uint8)
ALPHA[:5], ALPHA[5:10] = 0, 255
INDEX = RNG.integers(0, 256, (HEIGHT, WIDTH), dtype=np.uint8)
PALETTE = RNG.integers(0, 256, (256, 3), dtype=np.uint8)
DEEP = RNG.integers(0, 65536, (HEIGHT, WIDTH, 4), dtype=np.uint16)
DEEP[0, :10, 0] = [0, 1, 255, 256, 300, 32768, 65534, 65535, 1000, 60000]
EXIF_ORIENTATION = 0x0112


def thrice(grey: np.ndarray) -> np.ndarray:
    return np.repeat(np.asarray(grey, dtype=np.float64)[..., None], 3, axis=2)


def over_white(rgb: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    share = np.asarray(alpha, dtype=np.float64)[..., None] / 255
    return np.asarray(rgb, dtype=np.float64) * share + 255 * (1 - share)


def blocks(channels: int) -> np.ndarray:
    """Flat 16 x 16 blocks, which JPEG keeps nearly as they are: [96, 128, channels]."""
    coarse = np.random.default_rng(3).integers(0, 256, (6, 8, channels), dtype=np.uint8)
    return coarse.repeat(16, axis=0).repeat(16, axis=1)


def palette_png(**options: object) -> bytes:
    image = Image.frombytes("P", SIZE, INDEX.tobytes())
    image.putpalette(PALETTE.tobytes())
    return saved(image, "PNG", **options)


def cmyk_jpeg() -> bytes:
    image = Image.frombytes("CMYK", (128, 96), blocks(4).tobytes())
    return saved(image, "JPEG", quality=100, subsampling=0)


def cmyk_as_rgb() -> np.ndarray:
    ink = blocks(4).astype(np.float64)
    return (255 - ink[..., :3]) * (255 - ink[..., 3:]) / 255


def deep_png(colour: int, channels: int, *extra: bytes) -> bytes:
    """16 bits a sample, big-endian."""
    rows = np.ascontiguousarray(DEEP[..., :channels]).astype(">u2").tobytes()
    return png_file(WIDTH, HEIGHT, 16, colour, rows, *extra)


def deep(channels: int) -> np.ndarray:
    return DEEP[..., :channels].astype(np.float64) / 257


FIRST_INDEX = int(INDEX[0, 0])
INDEX_ALPHA = RNG.integers(0, 256, 256, dtype=np.uint8)
KEYED = tuple(int(v) for v in RGB[0, 0])
KEY_ALPHA = np.where((RGB[0, 0] == RGB).all(axis=2), 0, 255)
BITS = GREY > 127
KEYED_DEEP = np.where(DEEP[..., 0] == DEEP[1, 0, 0], 255.0, DEEP[..., 0] / 257)

# (file, RGB, how far a sample may be off)
KINDS = [
    pytest.param(encoded(RGB), RGB, 0, id="png-rgb"),
    pytest.param(encoded(GREY), thrice(GREY), 0, id="png-grey"),
    pytest.param(encoded(BITS), thrice(BITS * 255), 0, id="png-1-bit"),
    pytest.param(palette_png(), PALETTE[INDEX], 0, id="png-palette"),
    pytest.param(
        palette_png(transparency=FIRST_INDEX),
        over_white(PALETTE[INDEX], np.where(INDEX == FIRST_INDEX, 0, 255)),
        0,
        id="png-palette-one-transparent",
    ),
    pytest.param(
        palette_png(transparency=INDEX_ALPHA.tobytes()),
        over_white(PALETTE[INDEX], INDEX_ALPHA[INDEX]),
        1,
        id="png-palette-with-alpha",
    ),
    pytest.param(
        encoded(np.dstack([RGB, ALPHA])), over_white(RGB, ALPHA), 1, id="png-rgb-with-alpha"
    ),
    pytest.param(
        encoded(np.dstack([GREY, ALPHA])), over_white(thrice(GREY), ALPHA), 1, id="png-la"
    ),
    pytest.param(
        encoded(RGB, transparency=KEYED), over_white(RGB, KEY_ALPHA), 0, id="png-colour-key"
    ),
    pytest.param(deep_png(0, 1), thrice(deep(1)[..., 0]), 1, id="png-grey-16-bit"),
    pytest.param(deep_png(2, 3), deep(3), 1, id="png-rgb-16-bit"),
    pytest.param(
        deep_png(4, 2), over_white(thrice(deep(2)[..., 0]), deep(2)[..., 1]), 2, id="png-la-16-bit"
    ),
    pytest.param(
        deep_png(6, 4), over_white(deep(4)[..., :3], deep(4)[..., 3]), 3, id="png-rgba-16-bit"
    ),
    pytest.param(
        deep_png(0, 1, chunk(b"tRNS", int(DEEP[1, 0, 0]).to_bytes(2, "big"))),
        thrice(KEYED_DEEP),
        1,
        id="png-grey-16-bit-colour-key",
    ),
    pytest.param(encoded(RGB, "WEBP", lossless=True), RGB, 0, id="webp"),
    pytest.param(
        encoded(np.dstack([RGB, ALPHA]), "WEBP", lossless=True, exact=True),
        over_white(RGB, ALPHA),
        1,
        id="webp-with-alpha",
    ),
    pytest.param(
        encoded(blocks(3), "JPEG", quality=100, subsampling=0), blocks(3), 3, id="jpeg-rgb"
    ),
    pytest.param(
        encoded(blocks(3), "JPEG", quality=100, subsampling=0, progressive=True),
        blocks(3),
        3,
        id="jpeg-progressive",
    ),
    pytest.param(
        encoded(blocks(1)[..., 0], "JPEG", quality=100),
        thrice(blocks(1)[..., 0]),
        3,
        id="jpeg-grey",
    ),
    pytest.param(cmyk_jpeg(), cmyk_as_rgb(), 4, id="jpeg-cmyk"),
]

MOVING = [
    pytest.param(moving("WEBP"), pixels(), id="webp"),
    pytest.param(moving("PNG"), pixels(), id="apng"),
]

# What the eight EXIF orientations do to a picture that is stored as it should not be shown.
UPRIGHT = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
    8: lambda a: np.rot90(a),
}


def turned(kind: str, orientation: int, rgb: np.ndarray) -> bytes:
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = orientation
    options = {
        "PNG": {},
        "WEBP": {"lossless": True},
        "JPEG": {"quality": 100, "subsampling": 0},
    }[kind]
    return encoded(rgb, kind, exif=exif.tobytes(), **options)
