"""Whatever bytes come in, decoding answers with a raster within limits or with an error of ours."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from service.core import Raster
from service.errors import InvalidRequest
from service.inputs.images import ImageLimits, decode_image
from tests.inputs.kinds import blocks, turned
from tests.inputs.pictures import encoded, moving, pixels, png_file

LIMITS = ImageLimits(100_000)
CODES = {"image_decode", "image_format", "image_too_large", "image_dimensions"}
SEEDS = {
    "png": encoded(pixels()),
    "jpeg": turned("JPEG", 6, blocks(3)),
    "webp": encoded(pixels(), "WEBP"),
    "apng": moving("PNG"),
    "moving-webp": moving("WEBP"),
    "palette": encoded(pixels()[..., 0], "PNG", "P"),
}
fuzzed = settings(max_examples=60, deadline=None, derandomize=True)


def assert_safe(data: bytes) -> None:
    made: Raster | None = None
    code = None
    try:
        made = decode_image(data, LIMITS)
    except InvalidRequest as error:
        code = error.code
    if made is None:
        assert code in CODES
        return
    assert isinstance(made, Raster)
    assert len(made.rgb) == made.width * made.height * 3
    assert made.width * made.height <= LIMITS.max_pixels


@fuzzed
@given(st.binary(max_size=300))
def test_random_bytes(data):
    assert_safe(data)


@pytest.mark.parametrize("magic", [b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF\x20\0\0\0WEBP"])
@fuzzed
@given(tail=st.binary(max_size=200))
def test_random_bytes_behind_a_magic(magic, tail):
    assert_safe(magic + tail)


@pytest.mark.parametrize("kind", SEEDS)
@fuzzed
@given(share=st.floats(0, 1))
def test_cut_anywhere(kind, share):
    data = SEEDS[kind]
    assert_safe(data[: int(len(data) * share)])


@pytest.mark.parametrize("kind", SEEDS)
@fuzzed
@given(flips=st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255)), min_size=1, max_size=20))
def test_bytes_changed_anywhere(kind, flips):
    data = bytearray(SEEDS[kind])
    for share, value in flips:
        data[int(share * len(data))] = value
    assert_safe(bytes(data))


@pytest.mark.parametrize("kind", SEEDS)
@fuzzed
@given(flips=st.lists(st.tuples(st.integers(0, 120), st.integers(0, 255)), min_size=1, max_size=4))
def test_header_bytes_changed(kind, flips):
    data = bytearray(SEEDS[kind])
    for place, value in flips:
        data[place] = value
    assert_safe(bytes(data))


@pytest.mark.parametrize("kind", SEEDS)
@fuzzed
@given(place=st.floats(0, 1), extra=st.binary(min_size=1, max_size=50))
def test_bytes_put_in(kind, place, extra):
    data = SEEDS[kind]
    at = int(len(data) * place)
    assert_safe(data[:at] + extra + data[at:])


@fuzzed
@given(
    width=st.integers(0, 2**32 - 1),
    height=st.integers(0, 2**32 - 1),
    depth=st.sampled_from([1, 2, 4, 8, 16, 3]),
    colour=st.integers(0, 7),
)
@example(width=40, height=30, depth=8, colour=2)
def test_headers_that_promise_any_size(width, height, depth, colour):
    assert_safe(png_file(width, height, depth, colour, b""))


@fuzzed
@given(width=st.integers(1, 400), height=st.integers(1, 400), kind=st.sampled_from(["PNG", "WEBP"]))
def test_sizes(width, height, kind):
    """Within the limits the size is kept; outside it is one of the two errors of size."""
    data = encoded(np.zeros((height, width, 3), np.uint8), kind)
    fits = width * height <= LIMITS.max_pixels
    shaped = max(width, height) <= 200 * min(width, height)
    if fits and shaped:
        made = decode_image(data, LIMITS)
        assert (made.width, made.height) == (width, height)
        assert made.warnings == (("image_enlarged",) if min(width, height) < 28 else ())
    else:
        with pytest.raises(InvalidRequest) as caught:
            decode_image(data, LIMITS)
        assert caught.value.code == ("image_dimensions" if fits else "image_too_large")
