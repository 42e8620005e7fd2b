"""Every kind of picture a trainer holds: it scores as the RGB it shows, and each content is sent once."""

import base64
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from basereward_client import BadRequest, InvalidPicture, RewardClient
from tests.client.serving import Live
from tests.inputs.kinds import ALPHA, DEEP, GREY, KINDS, RGB, UPRIGHT, over_white, thrice, turned
from tests.inputs.pictures import data_uri, encoded, raster
from tests.models import reward

PNG = encoded(RGB)
SHOWN = raster(RGB)
PIL = Image.fromarray(RGB)
DEEP_GREY = DEEP[..., 0]


@pytest.fixture(scope="module")
def client(server: Live) -> Iterator[RewardClient]:
    with RewardClient(server.url) as one:
        yield one


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "a picture.png"
    path.write_bytes(PNG)
    return path


def _shown(server: Live, client: RewardClient, picture: Any) -> np.ndarray:
    """What the server sees of it, [height, width, 3]."""
    item = {"prompt": f"p{id(picture)}", "response": "r", "image": picture}
    (got,) = client.score([item])
    seen = next(r for r in server.model.rasters if reward(item["prompt"], "r", r) == got)
    return np.frombuffer(seen.rgb, np.uint8).reshape(seen.height, seen.width, 3)


SAME = {
    "PIL": PIL,
    "PIL that a file was opened as": Image.open(io.BytesIO(PNG)),
    "bytes": PNG,
    "bytearray": bytearray(PNG),
    "memoryview": memoryview(PNG),
    "data URI": data_uri(PNG),
    "base64": base64.b64encode(PNG).decode(),
    "array": RGB,
    "array of another layout": np.asfortranarray(RGB),
    "row of bytes": {"bytes": PNG, "path": None},
    "row of bytes and a path that is elsewhere": {"bytes": PNG, "path": "/elsewhere.png"},
    "row of all three": {"type": "image", "bytes": PNG, "path": None, "image": PIL},
    "part of a PIL": {"type": "image", "image": PIL},
    "part of a PIL, with nulls": {"type": "image", "image": PIL, "text": None, "image_url": None},
    "part of a URL": {"type": "image_url", "image_url": {"url": data_uri(PNG)}},
    "part of a bare URL": {"type": "image_url", "image_url": data_uri(PNG)},
    "part of a row": {"type": "image", "image": {"bytes": PNG, "path": None}},
}


@pytest.mark.parametrize("picture", SAME.values(), ids=SAME.keys())
def test_each_kind_is_the_same_picture(server: Live, client: RewardClient, picture: Any) -> None:
    assert client.score_group("p", ["r"], [picture]) == [reward("p", "r", SHOWN)]
    turn = {"role": "user", "content": [_part(picture), {"type": "text", "text": "p"}]}
    answered = {"role": "assistant", "content": "r"}
    assert client.score([{"messages": [turn, answered]}]) == [reward("p", "r", SHOWN)]
    assert client.score_group([turn], ["r"]) == [reward("p", "r", SHOWN)]


def _part(picture: Any) -> Any:
    is_part = isinstance(picture, dict) and "type" in picture
    return picture if is_part else {"type": "image", "image": picture, "text": None}


def test_paths_are_read(client: RewardClient, path: Path) -> None:
    for picture in (path, {"bytes": None, "path": str(path)}, {"type": "image", "image": path}):
        assert client.score_group("p", ["r"], [picture]) == [reward("p", "r", SHOWN)]


def test_a_text_is_never_taken_for_a_path(client: RewardClient, path: Path) -> None:
    rewards = client.__class__(client.base_url, on_error="none")
    with rewards:
        got = rewards.score([{"prompt": "p", "response": "r", "image": str(path)}])
    assert got == [None]
    assert [e.code for e in got.errors] == ["image_decode"]


GREY_16 = Image.frombytes("I;16", (DEEP_GREY.shape[1], DEEP_GREY.shape[0]), DEEP_GREY.tobytes())
PALETTE = PIL.quantize(64)
MODES = {
    "L": (Image.fromarray(GREY), thrice(GREY), 0),
    "1": (Image.fromarray(GREY > 127), thrice((GREY > 127) * 255), 0),
    "LA": (
        Image.fromarray(np.dstack([GREY, ALPHA])),
        over_white(thrice(GREY), ALPHA),
        1,
    ),
    "RGBA": (Image.fromarray(np.dstack([RGB, ALPHA])), over_white(RGB, ALPHA), 1),
    "P": (PALETTE, np.asarray(PALETTE.convert("RGB")), 0),
    "PA": (
        Image.fromarray(np.dstack([RGB, ALPHA])).quantize(64).convert("PA"),
        None,
        0,
    ),
    "CMYK": (PIL.convert("CMYK"), np.asarray(PIL.convert("CMYK").convert("RGB")), 0),
    "YCbCr": (PIL.convert("YCbCr"), np.asarray(PIL.convert("YCbCr").convert("RGB")), 0),
    "HSV": (PIL.convert("HSV"), np.asarray(PIL.convert("HSV").convert("RGB")), 0),
    "I;16": (GREY_16, thrice(DEEP_GREY / 257), 1),
    "I": (GREY_16.convert("I"), thrice(DEEP_GREY / 257), 1),
}


@pytest.mark.parametrize(("image", "rgb", "tolerance"), MODES.values(), ids=MODES.keys())
def test_every_mode_of_pil_is_seen_as_it_shows(
    server: Live, client: RewardClient, image: Image.Image, rgb: Any, tolerance: int
) -> None:
    if rgb is None:
        rgba = np.asarray(image.convert("RGBA"))
        rgb, tolerance = over_white(rgba[..., :3], rgba[..., 3]), 1
    shown = _shown(server, client, image)
    assert np.abs(shown.astype(float) - rgb).max() <= tolerance


@pytest.mark.parametrize(("data", "rgb", "tolerance"), KINDS)
def test_a_pil_image_of_a_file_is_seen_as_the_file(
    server: Live, client: RewardClient, data: bytes, rgb: np.ndarray, tolerance: int
) -> None:
    as_file = _shown(server, client, data)
    as_pil = _shown(server, client, Image.open(io.BytesIO(data)))
    assert (as_pil == as_file).all()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("orientation", UPRIGHT)
def test_a_pil_image_keeps_the_orientation_of_its_file(
    server: Live, client: RewardClient, kind: str, orientation: int
) -> None:
    data = turned(kind, orientation, RGB)
    as_file = _shown(server, client, data)
    as_pil = _shown(server, client, Image.open(io.BytesIO(data)))
    assert (as_pil == as_file).all()
    if kind != "JPEG":
        assert (as_pil == UPRIGHT[orientation](RGB)).all()


@pytest.mark.parametrize("array", [GREY, RGB, np.dstack([RGB, ALPHA])], ids=["grey", "rgb", "rgba"])
def test_arrays_are_their_pil_images(server: Live, client: RewardClient, array: np.ndarray) -> None:
    shown = _shown(server, client, array)
    assert (shown == _shown(server, client, Image.fromarray(array))).all()


def test_one_array_is_no_list_of_pictures(client: RewardClient) -> None:
    """Its planes, channels first, would pass for three grey pictures."""
    planes = np.moveaxis(RGB, -1, 0)
    with pytest.raises(BadRequest, match=r"items\[0\].*one array"):
        client.score_group("p", ["r"], images=planes)
    stack = client.score_group("p", ["r"], images=np.stack([RGB, RGB]))
    assert stack == client.score_group("p", ["r"], images=[RGB, RGB])


BAD = {
    "float array": RGB.astype(np.float32) / 255,
    "16-bit array": DEEP,
    "array of two channels": RGB[..., :2],
    "array of one row": RGB[0, :, 0],
    "array of batches": RGB[None],
    "float PIL": Image.fromarray(np.zeros((30, 40), np.float32)),
    "32-bit PIL": Image.fromarray(np.full((30, 40), 70_000, np.int32)),
    "negative PIL": Image.fromarray(np.full((30, 40), -1, np.int32)),
    "cut PIL": Image.open(io.BytesIO(PNG[: len(PNG) // 2])),
    "no file": Path("/nowhere/at/all.png"),
    "row of nothing": {"bytes": None, "path": None},
    "number": 7,
    "list": [PNG],
}


@pytest.mark.parametrize("picture", BAD.values(), ids=BAD.keys())
def test_what_is_no_picture_is_an_error_of_its_item(
    server: Live, client: RewardClient, picture: Any
) -> None:
    good = {"prompt": "p", "response": "r"}
    bad = {"prompt": "p", "responses": ["r", "s"], "images": [PNG, picture]}
    with pytest.raises(InvalidPicture) as caught:
        client.score([good, bad])
    assert [(e.index, e.code) for e in caught.value.items] == [(1, "invalid_picture")]
    with RewardClient(server.url, on_error="none") as lenient:
        rewards = lenient.score([good, bad, good])
    assert rewards == [reward("p", "r"), [None, None], reward("p", "r")]
    assert [(e.index, e.response, e.code) for e in rewards.errors] == [
        (1, 0, "invalid_picture"),
        (1, 1, "invalid_picture"),
    ]
