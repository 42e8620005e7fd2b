"""`multipart/form-data` on /score: the same answers as JSON, within the same limits."""

import json

import pytest

from tests.api.serving import GOOD, RawCall, error_of, served
from tests.inputs.pictures import data_uri, pixels, png, raster
from tests.models import reward

pytestmark = pytest.mark.anyio

ITEM = {"prompt": "p", "images": [{"ref": "a"}, {"ref": "b"}], "responses": ["x", "y"]}


def form(body, **pictures):
    parts = {name: (f"{name}.png", data, "image/png") for name, data in pictures.items()}
    return {"request": (None, json.dumps(body), "application/json"), **parts}


async def test_pictures_come_as_parts():
    async with served() as server:
        files = form({"items": [ITEM]}, a=png(), b=png(seed=1))
        answer = await server.client.post("/score", files=files)
        table = {"a": data_uri(png()), "b": data_uri(png(seed=1))}
        same = await server.score({"items": [ITEM], "image_table": table})
    assert answer.status_code == 200
    pictures = raster(pixels()), raster(pixels(seed=1))
    assert answer.json()["rewards"] == [[reward("p", r, *pictures) for r in ("x", "y")]]
    assert answer.json()["rewards"] == same["rewards"]


async def test_a_part_may_be_as_large_as_the_body():
    large = png(1500, 1500)
    assert len(large) > 2**22
    async with served() as server:
        files = form({"prompt": "p", "image": {"ref": "a"}, "response": "r"}, a=large)
        answer = await server.client.post("/score", files=files)
        expected = reward("p", "r", raster(pixels(1500, 1500)))
        assert answer.json()["reward"] == expected
    async with served(max_body_bytes=2**20) as server:
        answer = await server.client.post("/score", files=files)
        error_of(answer, 413, "body_too_large")
        await server.still_scores()


async def test_parts_and_table_may_be_mixed_but_not_meet():
    async with served() as server:
        both = {"items": [ITEM], "image_table": {"b": data_uri(png(seed=1))}}
        answer = await server.client.post("/score", files=form(both, a=png()))
        assert answer.status_code == 200
        answer = await server.client.post("/score", files=form(both, a=png(), b=png()))
        assert error_of(answer, 422, "invalid_item")["param"] == "image_table"


async def test_an_empty_part_is_no_picture():
    async with served() as server:
        files = form({"prompt": "p", "image": {"ref": "a"}, "response": "r"}, a=b"")
        error_of(await server.client.post("/score", files=files), 422, "image_decode")


BOUNDARY = b"x"
PART = b'--x\r\nContent-Disposition: form-data; name="request"\r\n\r\n'
WHOLE = PART + json.dumps(GOOD).encode() + b"\r\n--x--\r\n"


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("multipart/form-data", WHOLE),
        ("multipart/form-data; boundary=y", WHOLE),
        ("multipart/form-data; boundary=x", b""),
        ("multipart/form-data; boundary=x", WHOLE[:-10]),
        ("multipart/form-data; boundary=x", PART.replace(b"request", b"other") + b"\r\n--x--\r\n"),
        ("multipart/form-data; boundary=x", PART + b"{}\r\n" + WHOLE),  # twice
        (
            "multipart/form-data; boundary=x",
            PART.replace(b'name="request"', b"a") + b"\r\n--x--\r\n",
        ),
        ("multipart/form-data; boundary=" + "x" * 300, WHOLE),
    ],
)
async def test_malformed_forms_are_refused(content_type, body):
    async with served() as server:
        call = RawCall(server.app, headers=[("content-type", content_type)])
        call.send(body)
        (await call.run()).error(400, "malformed_multipart")
        await server.still_scores()


async def test_the_json_of_a_form_is_as_strict():
    async with served() as server:
        files = {"request": (None, "{", "application/json")}
        error_of(await server.client.post("/score", files=files), 400, "malformed_json")
        files = form({**GOOD, "colour": 1})
        error_of(await server.client.post("/score", files=files), 422, "invalid_item")


async def test_other_routes_take_no_forms():
    async with served() as server:
        answer = await server.client.post("/get_reward", files=form({}))
        error_of(answer, 415, "unsupported_media_type")
