"""`POST /score`: authenticated, counted, validated, scored, and dropped when the caller hangs up."""

import asyncio
from collections.abc import Coroutine
from functools import partial
from typing import Any, TypeVar

import orjson
from fastapi import APIRouter
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from service.api.answers import score_body, score_headers
from service.api.body import BodyReader, parse_json, reading
from service.api.items import Rules
from service.api.openapi import SCORE_DOCS
from service.api.parsing import ParsedRequest, parse_request
from service.core import ModelInfo
from service.engine import RewardEngine, Scored
from service.errors import InvalidRequest
from service.settings import Settings

T = TypeVar("T")
MAX_RUN_CHARS = 128  # of the label; the rest is cut
# Larger bodies are parsed beside the event loop. Every list and object of many values has many commas: the
# most laborious bodies below these bounds take 4 ms (8,000 empty items in 24 KiB took 120 ms).
LARGE_BYTES = 64 * 2**10
LARGE_COMMAS = 512
LARGE_RESPONSES = 256  # more are written as JSON beside the event loop

# Several trainers can set a URL but no header: each of these headers is a query parameter too.
_BY_HEADER = {
    "timeout_s": "x-request-timeout-s",
    "expect_fingerprint": "x-expect-fingerprint",
    "expect_numerics": "x-expect-numerics",
    "request_id": "x-request-id",  # read where the id is made
    "run": "x-run",
    "group_key": "x-group-key",
}
_QUERY_KEYS = frozenset(_BY_HEADER) | {"model"}


class ScoreRoute:
    """The route, with the engine and the limits it needs."""

    def __init__(self, engine: RewardEngine, settings: Settings) -> None:
        self._engine = engine
        self._settings = settings
        self.router = APIRouter()
        for path in ("/score", "/v1/score"):
            self.router.add_api_route(
                path, self.score, methods=["POST"], include_in_schema=path == "/score", **SCORE_DOCS
            )

    async def score(self, request: Request) -> Response:
        info = self._engine.model.info  # not ready, or draining: refused before the body is read
        _check_query(request)
        _check_expected(request, info)
        settings = self._settings
        reader = BodyReader(
            self._engine.admission, settings.max_body_bytes, settings.body_timeout_s
        )
        with reading(reader):
            body = await reader.read(request)
            await self._engine.turns.take(finishing=False)
            rules = Rules(info.image_position, settings.max_text_chars, settings.max_responses)
            parse = partial(_parsed, body, rules)
            parsed = await asyncio.to_thread(parse) if _is_large(body) else parse()
            del body, parse
            return await _unless_gone(request, self._answer(request, parsed, info))

    async def _answer(self, request: Request, parsed: ParsedRequest, info: ModelInfo) -> Response:
        _check_model(parsed.options.model or request.query_params.get("model"), info)
        state = request.state
        run = (_parameter(request, "run") or "")[:MAX_RUN_CHARS]
        scored = await self._engine.score(
            parsed.items,
            timeout_s=self._timeout_s(request, parsed),
            fail=parsed.options.on_error == "fail",
            tenant=state.tenant,
            run=run,
            begun_at=state.begun_at,
        )
        state.log = {"responses": scored.usage.responses, "tenant": state.tenant.name}
        if run:
            state.log["run"] = run
        write = partial(_json, parsed, scored, info, state.request_id)
        large = scored.usage.responses > LARGE_RESPONSES
        body = await asyncio.to_thread(write) if large else write()
        headers = score_headers(info, scored.timing)
        return Response(body, headers=headers, media_type="application/json")

    def _timeout_s(self, request: Request, parsed: ParsedRequest) -> float:
        """The smaller of the header's and the body's; the setting where neither is given."""
        stated = [t for t in (parsed.options.timeout_s, _seconds(request)) if t is not None]
        return min(stated, default=self._settings.timeout_s)


def _json(parsed: ParsedRequest, scored: Scored, info: ModelInfo, request_id: str) -> bytes:
    return orjson.dumps(score_body(parsed, scored, info, request_id))


def _is_large(body: bytearray) -> bool:
    return len(body) > LARGE_BYTES or body.count(b",") > LARGE_COMMAS


def _parsed(body: bytearray, rules: Rules) -> ParsedRequest:
    return parse_request(parse_json(body), rules)


async def _unless_gone(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """The work's result; a caller that hangs up cancels it, so that nothing more is spent on it."""
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_hung_up(request))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnect
        return task.result()
    finally:
        gone.cancel()
        task.cancel()
        await asyncio.gather(task, gone, return_exceptions=True)


async def _hung_up(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _parameter(request: Request, name: str) -> str | None:
    return request.headers.get(_BY_HEADER[name]) or request.query_params.get(name)


def _seconds(request: Request) -> float | None:
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


def _check_query(request: Request) -> None:
    for key in request.query_params:
        if key not in _QUERY_KEYS:
            raise InvalidRequest("unknown query parameter", param=key[:64])


def _check_expected(request: Request, info: ModelInfo) -> None:
    """A trainer that names the function it wants never gets another one's rewards."""
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


def _check_model(wanted: str | None, info: ModelInfo) -> None:
    if wanted is None or wanted == info.name:
        return
    if "@" in wanted:
        raise InvalidRequest(
            "model revisions are not built yet", code="not_supported", param="model"
        )
    raise InvalidRequest("no such model; see /v1/models", code="unknown_model", param="model")
