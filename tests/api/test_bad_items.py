"""Items that cannot be scored: each is refused at once, named, and disturbs nothing."""

import pytest

from tests.api.serving import GOOD, error_of, served
from tests.inputs.pictures import (
    bomb,
    data_uri,
    encoded,
    pixels,
    png,
    png_file,
)

pytestmark = pytest.mark.anyio

JPEG = encoded(pixels(200, 150), "JPEG")

BAD_PICTURES = [
    pytest.param("not base64 at all!", "image_decode", id="not-base64"),
    pytest.param("data:image/png;base64,@@@@", "image_decode", id="not-base64-in-a-data-uri"),
    pytest.param("data:image/png,abcd", "image_decode", id="data-uri-without-base64"),
    pytest.param("", "image_decode", id="empty"),
    pytest.param("data:image/png;base64,", "image_decode", id="empty-data-uri"),
    pytest.param("iVBORw0KGgo=", "image_decode", id="png-magic-alone"),
    pytest.param(data_uri(b"hello, this is text"), "image_decode", id="text-as-picture"),
    pytest.param(data_uri(JPEG[: len(JPEG) // 2]), "image_decode", id="truncated-jpeg"),
    pytest.param(data_uri(png()[:-40]), "image_decode", id="truncated-png"),
    pytest.param(data_uri(bomb()), "image_too_large", id="bomb-of-20000x20000-zeros"),
    pytest.param(
        data_uri(png_file(9000, 9000, 8, 2, b"")), "image_too_large", id="9000x9000-header"
    ),
    pytest.param(data_uri(encoded(pixels(), "GIF")), "image_format", id="gif"),
    pytest.param(data_uri(encoded(pixels(), "BMP")), "image_format", id="bmp"),
    pytest.param(data_uri(encoded(pixels(), "TIFF")), "image_format", id="tiff"),
    pytest.param("data:text/plain;base64,aGVsbG8=", "image_decode", id="text-data-uri"),
    pytest.param("/data/images/1.png", "image_decode", id="path"),
    pytest.param(data_uri(png(1, 10_000)), "image_dimensions", id="1x10000"),
    pytest.param(data_uri(png(28, 28 * 200 + 1)), "image_dimensions", id="beyond-200-to-1"),
    pytest.param("https://example.com/a.png", "url_not_allowed", id="https"),
    pytest.param("http://example.com/a.png", "url_not_allowed", id="http"),
    pytest.param("file:///etc/passwd", "url_not_allowed", id="file"),
    pytest.param("ftp://example.com/a.png", "url_not_allowed", id="ftp"),
    pytest.param("HTTPS://example.com/a.png", "url_not_allowed", id="https-in-capitals"),
]


@pytest.mark.parametrize(("source", "code"), BAD_PICTURES)
async def test_bad_picture_names_the_item(source, code):
    items = [GOOD, GOOD | {"images": [data_uri(png()), source]}]
    async with served() as server:
        error = await server.refused({"items": items}, 422, code)
        assert server.model.seen == [GOOD["response"]]
    assert error["param"] == "items[1].images[1]"
    assert error["message"].startswith("items[1].images[1]: ")
    assert [(e["index"], e["code"]) for e in error["items"]] == [(1, code)]


@pytest.mark.parametrize(("source", "code"), BAD_PICTURES)
async def test_bad_picture_of_the_table_is_named_by_its_item(source, code):
    items = [GOOD, GOOD | {"image": {"ref": "bad"}}]
    async with served() as server:
        answer = await server.client.post(
            "/score", json={"items": items, "image_table": {"bad": source}}
        )
    error = error_of(answer, 422, code)
    assert error["param"] == "items[1].image"


async def test_sizes_are_told():
    big = GOOD | {"image": data_uri(png_file(9000, 9000, 8, 2, b""))}
    thin = GOOD | {"image": data_uri(png(1, 10_000))}
    async with served() as server:
        error = await server.refused({"items": [big, thin]}, 422, "image_too_large")
    assert "9000x9000" in error["message"]
    assert "16777216" in error["message"]
    assert "1x10000" in error["items"][1]["message"]


@pytest.mark.parametrize("sides", [(28, 28), (28, 28 * 200), (28 * 200, 28)])
async def test_pictures_at_the_limits_score(sides):
    async with served() as server:
        await server.score(GOOD | {"image": data_uri(png(*sides))})
        raster = server.model.rasters[0]
    assert (raster.width, raster.height) == sides


LONG = "x" * 1_000_000
BAD_ITEMS = [
    pytest.param({"prompt": "", "response": "x"}, "invalid_item", "prompt", id="empty-prompt"),
    pytest.param({"prompt": "x"}, "invalid_item", "", id="no-response"),
    pytest.param({"response": "x"}, "invalid_item", "", id="no-prompt"),
    pytest.param({}, "invalid_item", "", id="empty-item"),
    pytest.param("text", "invalid_item", "", id="not-an-object"),
    pytest.param(["prompt"], "invalid_item", "", id="a-list"),
    pytest.param(None, "invalid_item", "", id="null"),
    pytest.param(GOOD | {"responses": ["x"]}, "invalid_item", "", id="response-and-responses"),
    pytest.param({"prompt": "x", "responses": []}, "invalid_item", "responses", id="no-responses"),
    pytest.param(
        {"prompt": "x", "responses": ["a", 5]}, "invalid_item", "responses[1]", id="number"
    ),
    pytest.param({"prompt": 5, "response": "x"}, "invalid_item", "prompt", id="prompt-number"),
    pytest.param(GOOD | {"id": 17}, "invalid_item", "id", id="id-number"),
    pytest.param(
        GOOD | {"image": data_uri(png()), "images": []}, "invalid_item", "", id="image-and-images"
    ),
    pytest.param(
        GOOD | {"image": {"ref": "nobody"}}, "unknown_image_ref", "image", id="unknown-ref"
    ),
    pytest.param(
        {"messages": [{"role": "user", "content": [{"type": "image", "image": {"ref": "a"}}]}]}
        | {"response": "x"},
        "unknown_image_ref",
        "messages[0].content[0]",
        id="unknown-ref-in-a-part",
    ),
    pytest.param(
        GOOD | {"image_tag": "<image>"} | {"image": data_uri(png())},
        "invalid_item",
        "",
        id="no-tag-for-a-picture",
    ),
    pytest.param(
        {"prompt": "<i><i>", "image_tag": "<i>", "image": data_uri(png()), "response": "x"},
        "invalid_item",
        "",
        id="more-tags-than-pictures",
    ),
    pytest.param({"prompt": "x", "response": LONG}, "item_too_long", "response", id="1-mb-answer"),
    pytest.param({"prompt": LONG, "response": "x"}, "item_too_long", "prompt", id="1-mb-prompt"),
    pytest.param(GOOD | {"system": LONG}, "item_too_long", "system", id="1-mb-system"),
    pytest.param(
        {"prompt": "x", "responses": ["a", LONG]}, "item_too_long", "responses[1]", id="1-mb-of-two"
    ),
    pytest.param(
        {"messages": [{"role": "user", "content": LONG}], "response": "x"},
        "item_too_long",
        "messages[0].content",
        id="1-mb-turn",
    ),
]


@pytest.mark.parametrize(("item", "code", "where"), BAD_ITEMS)
async def test_bad_item_is_named(item, code, where):
    param = "items[2]" + (f".{where}" if where else "")
    async with served() as server:
        error = await server.refused({"items": [GOOD, GOOD, item]}, 422, code)
        assert server.model.encoded <= 3  # the two beside it, and the good request after it
    assert error["param"] == param
    assert error["message"].startswith(f"{param}: ")
    assert [(e["index"], e["code"]) for e in error["items"]] == [(2, code)]


async def test_text_beyond_the_limit_tells_size_and_limit_and_is_not_tokenised():
    async with served(max_text_chars=1000) as server:
        await server.score({"prompt": "x" * 1000, "response": "y"})
        before = server.model.encoded
        body = {"prompt": "x" * 1001, "response": "y"}
        answer = await server.client.post("/score", json=body)
        assert server.model.encoded == before
    message = error_of(answer, 422, "item_too_long")["message"]
    assert "1001" in message
    assert "1000" in message


async def test_items_beyond_the_models_tokens_are_refused():
    async with served() as server:
        object.__setattr__(server.model.info, "max_tokens", 20)
        error = await server.refused(
            {"items": [GOOD, {"prompt": "x" * 200, "response": "y"}]}, 422, "item_too_long"
        )
    assert error["param"] == "items[1]"


async def test_an_empty_response_scores():
    async with served() as server:
        await server.score({"prompt": "Why?", "response": ""})
        assert server.model.seen == [""]
