"""The OpenAPI document: a committed snapshot of the contract, with examples that the server takes."""

import json
from copy import deepcopy
from pathlib import Path

import pytest

from service.api.items import Rules
from service.api.parsing import parse_request
from service.api.schemas import EXAMPLES
from service.app import create_app
from service.core import Item
from service.errors import STATUS_BY_CODE
from service.settings import Settings
from tests.api.serving import served
from tests.models import StandIn, reward

SNAPSHOT = Path(__file__).with_name("openapi.json")


def rendered() -> str:
    document = create_app(Settings(), StandIn()).openapi()
    return json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def test_the_document_is_the_committed_one():
    same = rendered() == SNAPSHOT.read_text("utf-8")
    assert same, "the API changed; if it was meant to: python -m tests.api.test_openapi"


@pytest.mark.anyio
async def test_the_served_document_is_the_same():
    async with served() as server:
        document = (await server.client.get("/openapi.json")).json()
    assert document == json.loads(SNAPSHOT.read_text("utf-8"))


def test_settings_do_not_change_the_document():
    other = create_app(Settings(api_key="sesame", max_responses=3), StandIn()).openapi()
    assert other == json.loads(rendered())


def test_references_resolve():
    document = json.loads(rendered())
    schemas = document["components"]["schemas"]
    used = {part.split('"')[0] for part in rendered().split("#/components/schemas/")[1:]}
    assert used
    assert used <= set(schemas)


def test_every_status_and_code_is_documented():
    responses = json.loads(rendered())["paths"]["/score"]["post"]["responses"]
    for code, status in STATUS_BY_CODE.items():
        if code not in ("method_not_allowed", "not_found", "unknown_model"):
            assert f"`{code}`" in responses[str(status)]["description"]


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_are_taken_by_the_parser(name):
    parsed = parse_request(deepcopy(EXAMPLES[name]["value"]), Rules("before_text", 262_144))
    assert all(isinstance(item, Item) for item in parsed.items)


@pytest.mark.anyio
async def test_examples_are_answered():
    """The group's picture is a stub of a PNG, so it shows what on_error null does."""
    async with served() as server:
        one = await server.score(EXAMPLES["one"]["value"])
        group = await server.score(EXAMPLES["group"]["value"])
    assert one["reward"] == reward("What colour is the circle?", "It is red.")
    assert {error["code"] for error in group["errors"]} == {"image_decode"}
    assert group["ids"] == ["q17"]


if __name__ == "__main__":
    SNAPSHOT.write_text(rendered(), "utf-8")
