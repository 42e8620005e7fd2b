"""The OpenAPI document: `/score` reads its body as a stream, so its schema is stated here."""

from collections.abc import Iterable, Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from service.api.auth import OPEN_PATHS
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


def _errors(codes: Iterable[str]) -> dict[str, Any]:
    """A response for each status that the codes have."""
    by_status: dict[int, list[str]] = {}
    for code in codes:
        by_status.setdefault(STATUS_BY_CODE[code], []).append(f"`{code}`")
    return {
        str(status): {"description": ", ".join(codes), "content": _json(_ref("ErrorBody"))}
        for status, codes in sorted(by_status.items())
    }


def _codes_of(path: str, method: str) -> list[str]:
    if path in OPEN_PATHS:
        return [*ANYWHERE]
    if method == "post" and path not in UNSCORED:
        return [code for code in STATUS_BY_CODE if code != "method_not_allowed"]
    of_a_model = [] if path in UNSCORED else [*OF_A_MODEL]
    return [
        *ANYWHERE,
        "unauthorized",
        *of_a_model,
        *(["unknown_model", "not_supported"] if "{name}" in path else []),
    ]


def _complete(path: str, method: str, operation: dict[str, Any]) -> None:
    """What the routes do not say of themselves: the path's parameters, errors, and who needs no key."""
    if "{name}" in path:
        name = _parameter("path", "name", "Of the served model.") | {"required": True}
        operation.setdefault("parameters", []).append(name)
    if path in OPEN_PATHS:
        operation["security"] = []
    responses = operation["responses"]
    if method == "get" and (path in PROBES or path.startswith("/v2/health")):
        content = responses["200"]["content"]
        responses["503"] = {"description": "It is not; the answer says why.", "content": content}
    operation["responses"] = responses | _errors(_codes_of(path, method)) | responses


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
        "responses": {"200": {"description": "Rewards", "content": _json(_ref("ScoreResponse"))}},
    },
}
SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "basic": {"type": "http", "scheme": "basic"},
}
# Which errors a kind of route answers with, beside 200.
ANYWHERE = ("malformed_request", "headers_too_large", "internal")
OF_A_MODEL = ("not_ready", "draining")
PROBES = OPEN_PATHS - {"/metrics"}
UNSCORED = ("/seed_session",)  # the one POST that has nothing to score


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
            document["components"]["securitySchemes"] = SCHEMES
            document["security"] = [{name: []} for name in SCHEMES] + [
                {}
            ]  # {}: where no key is set
            document["servers"] = [{"url": "."}]  # where the document is: perhaps under a prefix
            for path, operations in document["paths"].items():
                for method, operation in operations.items():
                    _complete(path, method, operation)
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to extend it
