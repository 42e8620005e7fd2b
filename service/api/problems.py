"""Errors to JSON: the one place that does it, so that every route answers in one shape (API.md §2)."""

from typing import Any

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from service.errors import Failure, InvalidRequest, ServiceError


def problem(error: ServiceError, request_id: str, overload_status: int) -> Response:
    status = overload_status if error.code == "overloaded" else error.status
    detail: dict[str, Any] = {
        "code": error.code,
        "message": error.located,
        "param": error.param,
        "request_id": request_id,
    }
    if error.items:
        detail["items"] = [
            {"index": e.index, "response": e.response, "code": e.code, "message": e.message}
            for e in error.items
        ]
    detail |= error.extra
    body = orjson.dumps({"error": detail})
    return Response(body, status, error.headers, media_type="application/json")


async def refuse_http(_: Request, error: Exception) -> Response:
    """The router's own refusals, handed on to the middleware that answers all errors."""
    assert isinstance(error, HTTPException)
    raise from_http(error)


def from_http(error: HTTPException) -> ServiceError:
    """What the router itself refuses."""
    headers = dict(error.headers or {})
    if error.status_code == 404:  # noqa: PLR2004 - HTTP's own number
        return InvalidRequest("no such route", code="not_found")
    if error.status_code == 405:  # noqa: PLR2004 - HTTP's own number
        if headers.get("Allow") == "GET":
            headers["Allow"] = "GET, HEAD"
        return InvalidRequest(
            "the route takes other methods", code="method_not_allowed", headers=headers
        )
    return Failure("the request could not be handled")
