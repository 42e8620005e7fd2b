"""The OpenAPI document: a committed snapshot of the contract, with examples that the server takes."""

import json
import re
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


OPERATIONS = {
    (method, path): operation
    for path, operations in json.loads(SNAPSHOT.read_text("utf-8"))["paths"].items()
    for method, operation in operations.items()
}
WHATEVER_ROUTE = {"400", "431", "500"}
WHATEVER_BODY = {"401", "404", "408", "412", "413", "415", "422", "429", "503", "504"}


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_every_route_states_its_errors_and_parameters(method, path):
    operation = OPERATIONS[method, path]
    stated = set(operation["responses"])
    assert stated >= WHATEVER_ROUTE | {"200"}
    if method == "post" and path != "/seed_session":
        assert stated >= WHATEVER_BODY
    assert ("401" in stated) is (operation.get("security") != [])
    named = {p["name"]: p for p in operation.get("parameters", []) if p["in"] == "path"}
    assert set(named) == set(re.findall(r"{(\w+)}", path))
    assert all(parameter["required"] for parameter in named.values())


def test_probes_are_text_and_say_when_not():
    for path in ("/livez", "/readyz", "/health"):
        responses = OPERATIONS["get", path]["responses"]
        assert [set(responses[s]["content"]) for s in ("200", "503")] == [{"text/plain"}] * 2
    assert set(OPERATIONS["get", "/metrics"]["responses"]["200"]["content"]) == {"text/plain"}


def test_a_key_can_be_given_on_the_page():
    document = json.loads(rendered())
    schemes = document["components"]["securitySchemes"]
    assert {scheme["scheme"] for scheme in schemes.values()} == {"bearer", "basic"}
    assert document["security"] == [{"bearer": []}, {"basic": []}, {}]


@pytest.mark.anyio
async def test_the_page_works_under_a_prefix():
    """What a gateway takes off the path is nowhere in the page: it names the document beside it."""
    async with served() as server:
        page = (await server.client.get("/docs")).text
        document = (await server.client.get("/openapi.json")).json()
    assert "url: 'openapi.json'" in page
    assert document["servers"] == [{"url": "."}]


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_are_taken_by_the_parser(name):
    parsed = parse_request(deepcopy(EXAMPLES[name]["value"]), Rules("before_text", 262_144))
    assert all(isinstance(item, Item) for item in parsed.items)


@pytest.mark.anyio
async def test_examples_are_answered():
    async with served() as server:
        one = await server.score(EXAMPLES["one"]["value"])
        group = await server.score(EXAMPLES["group"]["value"])
    assert one["reward"] == reward("What colour is the circle?", "It is red.")
    assert group["errors"] == []
    assert None not in group["rewards"][0]
    assert group["ids"] == ["q17"]


if __name__ == "__main__":
    SNAPSHOT.write_text(rendered(), "utf-8")
