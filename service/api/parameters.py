"""What every scoring route takes beside its body: headers, each of them a query parameter too."""

from collections.abc import Set as AbstractSet

from starlette.requests import Request

from service.api.answers import score_headers
from service.core import ModelInfo
from service.errors import InvalidRequest

# Several trainers can set a URL but no header: each of these headers is a query parameter too.
BY_HEADER = {
    "timeout_s": "x-request-timeout-s",
    "expect_fingerprint": "x-expect-fingerprint",
    "expect_numerics": "x-expect-numerics",
    "request_id": "x-request-id",  # read where the id is made
    "run": "x-run",
    "group_key": "x-group-key",
}
QUERY_KEYS = frozenset(BY_HEADER) | {"model"}
MAX_RUN_CHARS = 128  # of the label; the rest is cut


def check_query(request: Request, own: AbstractSet[str]) -> None:
    """
    Args:
        request: that has them.
        own: the parameters that this route has beside the common ones.

    Raises:
        InvalidRequest: a parameter that the route does not know.
    """
    for key in request.query_params:
        if key not in QUERY_KEYS and key not in own:
            raise InvalidRequest("unknown query parameter", param=key[:64])


def check_expected(request: Request, info: ModelInfo) -> None:
    """A trainer that names the function it wants never gets another one's rewards.

    Raises:
        InvalidRequest: fingerprint_mismatch or numerics_mismatch.
    """
    current = {"fingerprint": info.fingerprint, "numerics": info.numerics}
    for name, value in current.items():
        expected = _parameter(request, f"expect_{name}")
        if expected is not None and expected != value:
            raise InvalidRequest(
                f"this server's {name} is another",
                code=f"{name}_mismatch",
                headers=score_headers(info),
                extra={"current": current},
            )


def check_model(wanted: str | None, info: ModelInfo) -> None:
    """
    Raises:
        InvalidRequest: unknown_model, or not_supported for a revision.
    """
    if wanted is None or wanted == info.name:
        return
    if "@" in wanted:
        raise InvalidRequest(
            "model revisions are not built yet", code="not_supported", param="model"
        )
    raise InvalidRequest("no such model; see /v1/models", code="unknown_model", param="model")


def run_of(request: Request) -> str:
    """Its label for logs and metrics: what cannot be printed (line ends, NUL) is an underscore there."""
    given = (_parameter(request, "run") or "")[:MAX_RUN_CHARS]
    return "".join(char if char.isprintable() else "_" for char in given)


def timeout_of(request: Request) -> float | None:
    """Seconds, where the header or the parameter states them.

    Raises:
        InvalidRequest: they state something else.
    """
    text = _parameter(request, "timeout_s")
    if text is None:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 < seconds <= 86_400:  # noqa: PLR2004 - a day, as in the schema; NaN fails too
        raise InvalidRequest("must be a number of seconds above 0", param="timeout_s")
    return seconds


def _parameter(request: Request, name: str) -> str | None:
    """The header's, else the query's; an empty one is as good as none."""
    return request.headers.get(BY_HEADER[name]) or request.query_params.get(name) or None
