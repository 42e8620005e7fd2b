"""What is sent of pictures: each distinct content once, without loss unless asked."""

import io
from typing import Any

import numpy as np
from PIL import Image

from basereward_client import RewardClient
from basereward_client.pictures import Pictures
from tests.client.serving import Live
from tests.inputs.kinds import RGB, turned
from tests.inputs.pictures import data_uri, encoded, raster
from tests.models import reward

PNG = encoded(RGB)
PIL = Image.fromarray(RGB)
PALETTE = PIL.quantize(64)


def _sources(*given: Any, jpeg_quality: int | None = None) -> dict[str, bytes | str]:
    pictures = Pictures(jpeg_quality)
    for picture in given:
        pictures.ref(picture)
    return pictures.sources


def test_equal_pixels_of_distinct_objects_are_encoded_and_sent_once() -> None:
    """TRL hands every member of a group an object of its own."""
    copies = [PIL.copy() for _ in range(4)] + [Image.open(io.BytesIO(PNG)), RGB, RGB.copy()]
    assert len(_sources(*copies)) == 1
    assert len(_sources(PNG, bytearray(PNG), memoryview(PNG), {"bytes": PNG})) == 1
    assert len(_sources(data_uri(PNG), data_uri(PNG)[:5] + data_uri(PNG)[5:])) == 1


def test_pictures_that_differ_are_never_taken_for_one() -> None:
    other = PIL.copy()
    other.putpixel((0, 0), (1, 2, 3))
    rotated = PIL.copy()
    rotated.getexif()[0x0112] = 6
    keyed = PIL.copy()
    keyed.info["transparency"] = (1, 2, 3)
    recoloured = PALETTE.copy()
    recoloured.putpalette(bytes(reversed(range(192))))
    wide = Image.frombytes("L", (60, 40), bytes(2400))
    high = Image.frombytes("L", (40, 60), bytes(2400))
    veiled = Image.frombytes("LA", (30, 40), bytes(2400))
    deep = Image.frombytes("I;16", (30, 40), bytes(2400))
    distinct = [PIL, other, rotated, keyed, PALETTE, recoloured, wide, high, veiled, deep]
    assert len(_sources(*distinct)) == len(distinct)


def test_temporaries_with_a_recycled_id_are_not_confused() -> None:
    frames = np.stack([np.full((30, 40), i, np.uint8) for i in range(20)])
    pictures = Pictures(None)
    assert len({pictures.ref(frames[i]) for i in range(20)}) == 20


def _encoded(picture: Any, jpeg_quality: int | None = None) -> bytes:
    (source,) = _sources(picture, jpeg_quality=jpeg_quality).values()
    assert isinstance(source, bytes)
    return source


def test_pictures_are_lossless_unless_asked() -> None:
    png, jpeg = _encoded(PIL), _encoded(PIL, jpeg_quality=80)
    assert png.startswith(b"\x89PNG")
    assert jpeg.startswith(b"\xff\xd8")
    assert len(jpeg) < len(png)


def test_jpeg_is_only_for_what_it_can_hold() -> None:
    for mode in ("LA", "RGBA", "P", "I;16"):
        image = Image.new(mode, (40, 30))
        assert _encoded(image, jpeg_quality=80).startswith(b"\x89PNG")
    keyed = Image.new("RGB", (40, 30))
    keyed.info["transparency"] = (0, 0, 0)
    assert _encoded(keyed, jpeg_quality=80).startswith(b"\x89PNG")


def test_jpeg_keeps_the_orientation(server: Live) -> None:
    image = Image.open(io.BytesIO(turned("PNG", 6, np.full((40, 60, 3), 9, np.uint8))))
    upright = raster(np.full((60, 40, 3), 9, np.uint8))
    with RewardClient(server.url, jpeg_quality=100) as client:
        assert client.score_group("p", ["r"], [image]) == [reward("p", "r", upright)]
