"""Decoding: every kind of picture to the right RGB, every limit and every damage to its own error."""

import numpy as np
import pytest
from PIL import Image, ImageFile

from service.errors import InvalidRequest
from service.inputs.images import ImageLimits, decode_image
from tests.inputs.kinds import KINDS, MOVING, UPRIGHT, blocks, turned
from tests.inputs.pictures import bomb, encoded, pixels, png, png_file, raster, saved

LIMITS = ImageLimits(16_777_216)


def decoded(data: bytes, limits: ImageLimits = LIMITS) -> np.ndarray:
    """[height, width, 3]"""
    made = decode_image(data, limits)
    return np.frombuffer(made.rgb, np.uint8).reshape(made.height, made.width, 3)


def assert_close(got: np.ndarray, expected: np.ndarray, tolerance: float) -> None:
    assert got.shape == expected.shape
    off = np.abs(got.astype(np.float64) - np.asarray(expected, dtype=np.float64)).max()
    assert off <= tolerance, f"a sample is off by {off}"


def code_of(data: bytes, limits: ImageLimits = LIMITS) -> str:
    with pytest.raises(InvalidRequest) as caught:
        decode_image(data, limits)
    return caught.value.code


@pytest.mark.parametrize(("data", "rgb", "tolerance"), KINDS)
def test_pixels(data, rgb, tolerance):
    assert_close(decoded(data), rgb, tolerance)
    assert decode_image(data, LIMITS).warnings == ()


@pytest.mark.parametrize(("data", "first"), MOVING)
def test_a_moving_picture_is_its_first_frame(data, first):
    made = decode_image(data, LIMITS)
    assert made.rgb == raster(first).rgb
    assert made.warnings == ("animated_image",)


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize(("kind", "tolerance"), [("PNG", 0), ("WEBP", 0), ("JPEG", 3)])
def test_exif_orientation(kind, tolerance, orientation):
    stored = blocks(3)
    data = turned(kind, orientation, stored)
    assert_close(decoded(data), UPRIGHT[orientation](stored), tolerance)
    assert_close(decoded(data, ImageLimits(10**7, apply_exif=False)), stored, tolerance)


@pytest.mark.parametrize("orientation", [0, 9, 255, 65535])
def test_an_orientation_that_is_none_turns_nothing(orientation):
    stored = blocks(3)
    assert_close(decoded(turned("PNG", orientation, stored)), stored, 0)


def test_a_camera_file_of_several_jpegs_is_its_first():
    frames = [Image.fromarray(blocks(3)), Image.fromarray(pixels())]
    data = saved(
        frames[0], "MPO", save_all=True, append_images=frames[1:], quality=100, subsampling=0
    )
    assert_close(decoded(data), blocks(3), 3)


@pytest.mark.parametrize("kind", ["GIF", "BMP", "TIFF", "ICO", "JPEG2000", "AVIF"])
def test_other_formats_are_named_as_such(kind):
    assert code_of(encoded(pixels(64, 64), kind)) == "image_format"


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"<svg xmlns='http://www.w3.org/2000/svg'/>", id="svg"),
        pytest.param(b"%PDF-1.7", id="pdf"),
    ],
)
def test_other_files_of_pictures_are_named_as_such(data):
    assert code_of(data) == "image_format"


@pytest.mark.parametrize("data", [b"", b"x", b"hello world", b"\0" * 100, b"\xff\xd8", b"RIFF"])
def test_what_is_no_picture_cannot_be_decoded(data):
    assert code_of(data) == "image_decode"


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_cut_picture_cannot_be_decoded(kind, share):
    data = encoded(pixels(200, 150), kind)
    assert code_of(data[: int(len(data) * share)]) == "image_decode"


def test_memory_that_the_machine_lacks_is_not_the_pictures_fault(monkeypatch):
    def lacks(_):
        raise MemoryError

    monkeypatch.setattr(ImageFile.ImageFile, "load", lacks)
    with pytest.raises(MemoryError):
        decode_image(png(200, 150), LIMITS)


@pytest.mark.parametrize(
    ("size", "code"),
    [
        ((28, 28), None),
        ((27, 28), None),
        ((28, 27), None),
        ((1, 1), None),
        ((1, 200), None),
        ((1, 201), "image_dimensions"),
        ((28, 5600), None),
        ((5600, 28), None),
        ((28, 5601), "image_dimensions"),
        ((5601, 28), "image_dimensions"),
        ((1, 10_000), "image_dimensions"),
    ],
)
def test_sides(size, code):
    data = png(*size)
    if code is None:
        assert decoded(data).shape == (size[1], size[0], 3)
    else:
        assert code_of(data) == code


@pytest.mark.parametrize(("size", "fits"), [((100, 100), True), ((100, 101), False)])
def test_pixels_are_limited(size, fits):
    limits = ImageLimits(10_000)
    if fits:
        assert decoded(png(*size), limits).shape[0] == 100
    else:
        assert code_of(png(*size), limits) == "image_too_large"


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(bomb(), id="zeros"),
        pytest.param(png_file(9000, 9000, 8, 2, b""), id="no-pixels-at-all"),
        pytest.param(png_file(2**31 - 1, 2**31 - 1, 8, 2, b""), id="the-largest-header"),
    ],
)
def test_a_bomb_is_refused_from_its_header(data, monkeypatch):
    def load(_):
        raise AssertionError("a pixel was decoded")

    monkeypatch.setattr(Image.Image, "load", load)
    assert code_of(data) == "image_too_large"


def test_messages_tell_size_and_limit_but_no_detail_of_the_decoder():
    with pytest.raises(InvalidRequest) as caught:
        decode_image(png(100, 200), ImageLimits(5000))
    assert "100x200" in caught.value.message
    assert "5000" in caught.value.message
    with pytest.raises(InvalidRequest) as caught:
        decode_image(png()[:-30], LIMITS)
    assert "BytesIO" not in caught.value.message
    assert "0x" not in caught.value.message
