"""Unusual pictures over HTTP: each scores as the RGB it shows, and one that moves says so."""

import numpy as np
import pytest

from tests.api.serving import GOOD, served
from tests.inputs.kinds import KINDS, MOVING, UPRIGHT, blocks, turned
from tests.inputs.pictures import data_uri, pixels, png, raster
from tests.models import StandIn, reward

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(("data", "rgb", "tolerance"), KINDS)
async def test_picture_scores_as_what_it_shows(data, rgb, tolerance):
    async with served() as server:
        answer = await server.score(GOOD | {"image": data_uri(data)})
        (got,) = server.model.rasters
    shown = np.frombuffer(got.rgb, np.uint8).reshape(got.height, got.width, 3)
    assert shown.shape == rgb.shape
    assert np.abs(shown.astype(np.float64) - rgb).max() <= tolerance
    assert answer["reward"] == reward("Is all well?", "Yes.", got)
    assert answer["warnings"] == []


@pytest.mark.parametrize(("data", "first"), MOVING)
async def test_moving_picture_scores_by_its_first_frame_with_a_warning(data, first):
    still = GOOD | {"image": data_uri(turned("PNG", 1, first))}
    group = {"prompt": "p", "images": [data_uri(data)], "responses": ["a", "b"]}
    async with served() as server:
        answer = await server.score({"items": [still, group]})
    frame = raster(first)
    assert answer["rewards"] == [
        reward("Is all well?", "Yes.", frame),
        [reward("p", "a", frame), reward("p", "b", frame)],
    ]
    assert [(w["index"], w["code"]) for w in answer["warnings"]] == [(1, "animated_image")]
    assert "items[1].images[0]" in answer["warnings"][0]["message"]


@pytest.mark.parametrize("size", [(1, 1), (27, 28), (28, 27), (20, 300), (27, 257), (1, 200)])
async def test_small_picture_scores_with_a_warning(size):
    item = GOOD | {"image": data_uri(png(*size))}
    async with served() as server:
        answer = await server.score({"items": [GOOD, item]})
        whole = await server.score(GOOD | {"image": data_uri(png(28, 28))})
    assert answer["rewards"][1] == reward("Is all well?", "Yes.", raster(pixels(*size)))
    assert [(w["index"], w["code"]) for w in answer["warnings"]] == [(1, "image_enlarged")]
    assert answer["warnings"][0]["message"].startswith("items[1].image has a side below 28 px")
    assert whole["warnings"] == []


@pytest.mark.parametrize("apply", [True, False])
async def test_exif_orientation_is_applied_unless_the_manifest_says_no(apply):
    stored = blocks(3)
    async with served(StandIn(apply_exif=apply)) as server:
        answer = await server.score(GOOD | {"image": data_uri(turned("PNG", 6, stored))})
    shown = raster(UPRIGHT[6](stored) if apply else stored)
    assert answer["reward"] == reward("Is all well?", "Yes.", shown)


async def test_file_urls_score_below_the_allowed_folder_only(tmp_path):
    allowed = tmp_path / "allowed"
    allowed.mkdir()
    for folder in (tmp_path, allowed):
        (folder / "cat.png").write_bytes(turned("PNG", 1, blocks(3)))
    inside, outside = f"file://{allowed}/cat.png", f"file://{tmp_path}/cat.png"
    async with served(allowed_file_dir=allowed) as server:
        answer = await server.score(GOOD | {"image": inside})
        assert answer["reward"] == reward("Is all well?", "Yes.", raster(blocks(3)))
        error = await server.refused(GOOD | {"image": outside}, 422, "url_not_allowed")
    assert str(tmp_path) not in str(error)
