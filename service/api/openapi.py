"""The OpenAPI document: `/score` reads its body as a stream, so its schema is stated here."""

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from service.api.schemas import EXAMPLES, ErrorBody, ScoreItemRequest, ScoreRequest, ScoreResponse
from service.errors import STATUS_BY_CODE

_REF = "#/components/schemas/{model}"
# Header → what it does; each has a query form, because several trainers can set a URL but no header.
_HEADERS = {
    "X-Request-Id": "Echoed; made if absent.",
    "X-Request-Timeout-S": "Deadline in seconds; the smaller of it and `timeout_s` wins.",
    "X-Expect-Fingerprint": "412 unless this fingerprint is served.",
    "X-Expect-Numerics": "412 unless rewards are computed this way.",
    "X-Run": "A label for fair shares and reports.",
    "X-Group-Key": "Equal for siblings; for gateways that hash it.",
}
_QUERY = {"X-Request-Timeout-S": "timeout_s"}  # the others: without X-, in lower case


def _parameters() -> list[dict[str, Any]]:
    headers = [_parameter("header", name, text) for name, text in _HEADERS.items()]
    queries = [
        _parameter("query", _QUERY.get(name, _query_name(name)), f"As {name}.") for name in _HEADERS
    ]
    return [*headers, *queries, _parameter("query", "model", "As `model` in the body.")]


def _query_name(header: str) -> str:
    return header.removeprefix("X-").lower().replace("-", "_")


def _parameter(place: str, name: str, description: str) -> dict[str, Any]:
    schema = {"type": "string"}
    return {
        "name": name,
        "in": place,
        "required": False,
        "description": description,
        "schema": schema,
    }


def _ref(name: str) -> dict[str, str]:
    return {"$ref": _REF.format(model=name)}


def _json(schema: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"application/json": {"schema": schema, **more}}


def _codes(status: int) -> str:
    return ", ".join(f"`{code}`" for code, s in STATUS_BY_CODE.items() if s == status)


FORM = {
    "type": "object",
    "required": ["request"],
    "properties": {
        "request": {"type": "string", "description": "The JSON, as of application/json."}
    },
    "additionalProperties": {
        "type": "string",
        "format": "binary",
        "description": "A picture; the part's name is its `ref`.",
    },
}


def format_docs(name: str, summary: str, example: Mapping[str, Any]) -> dict[str, Any]:
    """The docs of a route whose format is another project's: its example says it, docs/api.md explains it."""
    content = _json({"type": "object"}, example=example)
    return {
        "name": name,
        "summary": summary,
        "openapi_extra": {"requestBody": {"required": True, "content": content}},
    }


SCORE_DOCS: dict[str, Any] = {
    "name": "score",
    "summary": "Score responses to prompts with pictures",
    "description": "One item or thousands; order is kept: `rewards` mirrors `items`.",
    "openapi_extra": {
        "requestBody": {
            "required": True,
            "content": _json(
                {"anyOf": [_ref("ScoreRequest"), _ref("ScoreItemRequest")]}, examples=EXAMPLES
            )
            | {"multipart/form-data": {"schema": FORM}},
        },
        "parameters": _parameters(),
        "responses": {"200": {"description": "Rewards", "content": _json(_ref("ScoreResponse"))}}
        | {
            str(status): {"description": _codes(status), "content": _json(_ref("ErrorBody"))}
            for status in sorted(set(STATUS_BY_CODE.values()) - {405})
        },
    },
}


def install(app: FastAPI) -> None:
    """Serve the document with our schemas among its components."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = get_openapi(
                title=app.title, version=app.version, description=app.description, routes=app.routes
            )
            _, definitions = models_json_schema(
                [
                    (ScoreRequest, "validation"),
                    (ScoreItemRequest, "validation"),
                    (ScoreResponse, "serialization"),
                    (ErrorBody, "serialization"),
                ],
                ref_template=_REF,
            )
            schemas = document.setdefault("components", {}).setdefault("schemas", {})
            schemas |= definitions["$defs"]
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to extend it
