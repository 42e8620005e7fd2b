"""docs/api.md names every route, error code and status of the application, nothing else, and its requests parse."""

import json

import pytest
from fastapi.routing import APIRoute
from starlette.routing import Route

from service.api.items import Rules
from service.api.parameters import BY_HEADER, QUERY_KEYS
from service.api.parsing import parse_request
from service.api.schemas import ITEM_KEYS, OPTION_KEYS, RESERVED, ScoreResponse
from service.app import create_app
from service.core import Item
from service.errors import STATUS_BY_CODE
from service.settings import Settings
from tests.promises.markdown import fences, page, spans, table

PAGE = page("docs/api.md")
REQUESTS = fences(PAGE, "json request")


def routes(holder) -> set[tuple[str, str]]:
    """Every (method, path), those of included routers too; HEAD comes with GET."""
    found = set()
    for route in holder.routes:
        if isinstance(route, Route | APIRoute):
            found |= {(method, route.path) for method in route.methods or () if method != "HEAD"}
        else:
            found |= routes(route.original_router)
    return found


def documented_routes() -> set[tuple[str, str]]:
    return {
        (method, path)
        for method, paths, _, _ in table(PAGE, "method", "path", "key", "answers")
        for path in spans(paths)
    }


def test_routes_are_documented():
    assert documented_routes() == routes(create_app(Settings()))


def test_with_an_ops_port_only_the_open_routes_go():
    without = routes(create_app(Settings(ops_port=1)))
    gone = {p for m, p, key, _ in table(PAGE, "method", "path", "key", "answers") if key == "no"}
    assert {path for _, path in documented_routes() - without} == {p.strip("`") for p in gone}


def test_error_codes_are_documented():
    rows = table(PAGE, "status", "code", "when")
    documented = {code.strip("`"): int(status) for status, code, _ in rows}
    assert documented == STATUS_BY_CODE
    assert len(rows) == len(documented)


def test_every_option_is_documented():
    rows = table(PAGE, "key", "values", "meaning")
    assert {key.strip("`") for key, _, _ in rows} == OPTION_KEYS


def test_every_item_key_and_reserved_key_is_named():
    named = set(spans(PAGE))
    assert not ITEM_KEYS - named
    assert not RESERVED - named


def test_headers_and_query_parameters_are_documented():
    rows = table(PAGE, "header in", "query", "meaning")
    pairs = {query.strip("`"): header.strip("`").lower() for header, query, _ in rows if query}
    assert pairs == BY_HEADER | {"model": ""}
    assert set(pairs) == QUERY_KEYS


@pytest.mark.parametrize("body", REQUESTS, ids=range(len(REQUESTS)))
def test_request_example_parses(body):
    parsed = parse_request(json.loads(body), Rules("before_text", 262_144))
    assert parsed.items
    assert all(isinstance(item, Item) for item in parsed.items)


def test_there_are_request_examples():
    assert len(REQUESTS) >= 2


def test_answer_example_has_every_key():
    (example,) = fences(PAGE, "json")
    answer = ScoreResponse.model_validate_json(example)
    assert set(json.loads(example)) == set(ScoreResponse.model_fields) - {"reward"}
    assert answer.usage.responses == sum(
        len(r) if isinstance(r, list) else 1 for r in answer.rewards
    )
