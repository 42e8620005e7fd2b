"""Every colour type and depth of PNG, plain and interlaced, with and without transparency, beside a slow conversion."""

import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.inputs.images import ImageLimits, decode_image
from tests.inputs.pictures import PNG_MAGIC, chunk

LIMITS = ImageLimits(10**6)
GREY, COLOUR, PALETTE, GREY_ALPHA, COLOUR_ALPHA = 0, 2, 3, 4, 6
CHANNELS = {GREY: 1, COLOUR: 3, PALETTE: 1, GREY_ALPHA: 2, COLOUR_ALPHA: 4}
KINDS = [
    *((GREY, depth) for depth in (1, 2, 4, 8, 16)),
    *((PALETTE, depth) for depth in (1, 2, 4, 8)),
    *((kind, depth) for kind in (COLOUR, GREY_ALPHA, COLOUR_ALPHA) for depth in (8, 16)),
]
# x and y of the first sample, and the steps, of Adam7's seven passes (PNG specification, 8.2).
PASSES = [
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
]


def packed(samples: np.ndarray, depth: int) -> bytes:
    """Rows without filters. samples: [height, width, channels]"""
    rows = []
    for row in samples:
        bits = "".join(format(int(value), f"0{depth}b") for value in row.ravel())
        bits += "0" * (-len(bits) % 8)
        rows.append(b"\0" + bytes(int(bits[i : i + 8], 2) for i in range(0, len(bits), 8)))
    return b"".join(rows)


def written(samples: np.ndarray, kind: int, depth: int, interlaced: bool, extra: bytes) -> bytes:
    height, width, _ = samples.shape
    parts = [samples]
    if interlaced:
        parts = [samples[y::down, x::right] for x, y, right, down in PASSES]
    rows = b"".join(packed(part, depth) for part in parts if part.size)
    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, interlaced)
    body = chunk(b"IDAT", zlib.compress(rows))
    return PNG_MAGIC + chunk(b"IHDR", header) + extra + body + chunk(b"IEND", b"")


def shown(
    samples: np.ndarray, kind: int, depth: int, palette: np.ndarray, clear: np.ndarray | None
):
    """RGB from 0 to 255 over white, sample by sample; clear: the key, or the palette's alpha."""
    height, width, _ = samples.shape
    rgb = np.empty((height, width, 3))
    full = 2**depth - 1
    for y in range(height):
        for x in range(width):
            sample = samples[y, x].astype(float)
            alpha = 1.0
            if kind == PALETTE:
                colour = palette[int(sample[0])].astype(float)
                if clear is not None and int(sample[0]) < len(clear):
                    alpha = clear[int(sample[0])] / 255
            else:
                colours = sample[:3] if kind in (COLOUR, COLOUR_ALPHA) else sample[:1]
                colour = np.broadcast_to(colours / full * 255, 3)
                if kind in (GREY_ALPHA, COLOUR_ALPHA):
                    alpha = sample[-1] / full
                elif clear is not None and (sample == clear).all():
                    alpha = 0.0
            rgb[y, x] = colour * alpha + 255 * (1 - alpha)
    return rgb


@pytest.mark.parametrize(("kind", "depth"), KINDS)
@settings(max_examples=12, deadline=None, derandomize=True)
@given(
    width=st.integers(1, 20),
    height=st.integers(1, 20),
    seed=st.integers(0, 2**32 - 1),
    interlaced=st.booleans(),
    transparent=st.booleans(),
)
def test_pixels_are_those_of_a_slow_conversion(
    kind, depth, width, height, seed, interlaced, transparent
):
    random = np.random.default_rng(seed)
    samples = random.integers(0, 2**depth, (height, width, CHANNELS[kind]))
    palette = random.integers(0, 256, (2**depth if kind == PALETTE else 1, 3))
    clear, extra = None, b""
    if kind == PALETTE:
        extra = chunk(b"PLTE", palette.astype(np.uint8).tobytes())
    if transparent and kind == PALETTE:
        clear = random.integers(0, 256, random.integers(1, 2**depth + 1))
        extra += chunk(b"tRNS", clear.astype(np.uint8).tobytes())
    elif transparent and kind in (GREY, COLOUR):
        clear = samples[0, 0]
        extra = chunk(b"tRNS", clear.astype(">u2").tobytes())
    made = decode_image(written(samples, kind, depth, interlaced, extra), LIMITS)
    got = np.frombuffer(made.rgb, np.uint8).reshape(made.height, made.width, 3)
    expected = shown(samples, kind, depth, palette, clear)
    assert got.shape == expected.shape
    assert np.abs(got - expected).max() <= (3 if depth == 16 and kind == COLOUR_ALPHA else 2)


def test_a_transparency_whose_checksum_is_wrong_is_read_all_the_same():
    samples = np.arange(12).reshape(3, 4, 1) % 4
    key = chunk(b"tRNS", b"\0\2")
    good = decode_image(written(samples, GREY, 2, False, key), LIMITS)
    assert decode_image(written(samples, GREY, 2, False, key[:-4] + bytes(4)), LIMITS) == good
    white = np.frombuffer(good.rgb, np.uint8).reshape(3, 4, 3)[samples[..., 0] == 2]
    assert (white == 255).all()
