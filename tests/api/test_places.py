"""Where a prompt's pictures stand, and that equal ones are decoded once."""

import pytest

from tests.api.serving import GOOD, served
from tests.inputs.pictures import data_uri, pixels, png, raster
from tests.models import StandIn, reward, reward_of

pytestmark = pytest.mark.anyio

STREET, CAT = raster(pixels(seed=1)), raster(pixels(seed=2))
STREET_URI, CAT_URI = data_uri(png(seed=1)), data_uri(png(seed=2))
TABLE = {"street": STREET_URI, "cat": CAT_URI}


@pytest.mark.parametrize(
    ("given", "pictures"),
    [
        pytest.param({"image": CAT_URI}, [CAT], id="image"),
        pytest.param({"images": [CAT_URI]}, [CAT], id="images-of-one"),
        pytest.param({"images": [CAT_URI, STREET_URI]}, [CAT, STREET], id="list-order"),
        pytest.param({"images": [{"ref": "street"}, CAT_URI]}, [STREET, CAT], id="ref-and-uri"),
        pytest.param({"image": CAT_URI.partition(",")[2]}, [CAT], id="bare-base64"),
        pytest.param({"image": {"ref": "cat"}}, [CAT], id="image-ref"),
        pytest.param({"images": []}, [], id="no-images"),
    ],
)
async def test_pictures_of_a_prompt_stand_before_the_text(given, pictures):
    async with served() as server:
        answer = await server.score(GOOD | given | {"image_table": TABLE})
    assert answer["reward"] == reward(GOOD["prompt"], "Yes.", *pictures)


async def test_the_manifest_may_put_pictures_after_the_text():
    async with served(StandIn(image_position="after_text")) as server:
        answer = await server.score(GOOD | {"images": [CAT_URI, STREET_URI]})
    assert answer["reward"] == reward_of([("user", [GOOD["prompt"], CAT, STREET])], "Yes.")


async def test_image_tags_say_where_the_pictures_stand():
    body = {
        "prompt": "<image>Left or <image>?",
        "images": [CAT_URI, STREET_URI],
        "image_tag": "<image>",
        "response": "Left.",
    }
    async with served() as server:
        answer = await server.score(body)
    assert answer["reward"] == reward_of([("user", [CAT, "Left or ", STREET, "?"])], "Left.")


async def test_without_image_tag_a_tag_in_the_prompt_is_text():
    async with served() as server:
        answer = await server.score({"prompt": "a <image> b", "image": CAT_URI, "response": "x"})
    assert answer["reward"] == reward("a <image> b", "x", CAT)


async def test_pictures_with_equal_content_are_decoded_once():
    items = [GOOD | {"image": CAT_URI}, GOOD | {"images": [CAT_URI, {"ref": "cat"}]}] * 3
    items += [GOOD | {"image": {"ref": "street"}}]
    async with served() as server:
        answer = await server.score({"items": items, "image_table": TABLE})
        assert sorted(r.rgb for r in server.model.rasters) == sorted([CAT.rgb, STREET.rgb])
    once, twice = reward("Is all well?", "Yes.", CAT), reward("Is all well?", "Yes.", CAT, CAT)
    assert answer["rewards"] == [once, twice] * 3 + [reward("Is all well?", "Yes.", STREET)]


async def test_unused_pictures_of_the_table_are_not_decoded():
    async with served() as server:
        await server.score(GOOD | {"image_table": {"broken": "@@@", "cat": CAT_URI}})
        assert server.model.rasters == []
