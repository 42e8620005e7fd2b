"""What every scoring route does around its own wire format: counted, read, scored, and dropped with its caller."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import orjson
from fastapi import APIRouter
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from service.api.answers import Served, score_headers
from service.api.body import BodyReader, body_limits, reading
from service.api.items import Rules
from service.api.parameters import check_expected, check_model, check_query, run_of, timeout_of
from service.api.parsing import ParsedRequest
from service.api.strict_json import JsonReader
from service.core import ModelInfo
from service.engine import Caller, RewardEngine, Scored
from service.errors import ServiceError
from service.settings import Settings

T = TypeVar("T")
# Larger bodies are parsed beside the event loop. Every list and object of many values has many commas: the
# most laborious bodies below these bounds take 4 ms (8,000 empty items in 24 KiB took 120 ms).
LARGE_BYTES = 64 * 2**10
LARGE_COMMAS = 512
LARGE_RESPONSES = 256  # more are written as JSON beside the event loop
PATIENCE_S = 170.0  # OpenRLHF's clients hang up after 180
JSON_TYPES = ("application/json",)


@dataclass(frozen=True, slots=True)
class Sent:
    """One request as it came."""

    body: bytearray
    json: JsonReader
    content_type: str
    headers: Mapping[str, str]
    query: Mapping[str, str]
    path: Mapping[str, str]  # the path's parameters


@dataclass(frozen=True, slots=True)
class Asked:
    """A request understood, and how its answer is written: as what orjson takes."""

    parsed: ParsedRequest
    write: Callable[[Scored, Served], Any]
    echo_bytes: int = 0  # of the body that the answer repeats


Read = Callable[[Sent, Rules], Asked]


@dataclass(frozen=True, slots=True)
class WireFormat:
    """A route's format.

    Args:
        paths: that it answers at; the first is the documented one.
        read: the body's meaning; raises InvalidRequest.
        docs: of the OpenAPI document, as `add_api_route` takes them.
        parameters: of the query, beside those that every route takes.
        content_types: that `read` understands.
        patient: its clients die on a quick refusal, so they are held while the server is too busy, or loading.
    """

    paths: tuple[str, ...]
    read: Read
    docs: Mapping[str, Any]
    parameters: frozenset[str] = frozenset()
    content_types: tuple[str, ...] = JSON_TYPES
    patient: bool = True


def scoring_router(
    wires: Sequence[WireFormat], engine: RewardEngine, settings: Settings
) -> APIRouter:
    router = APIRouter()
    for wire in wires:
        answer = Endpoint(wire, engine, settings).answer
        for path in wire.paths:
            shown = path == wire.paths[0]
            router.add_api_route(
                path, answer, methods=["POST"], include_in_schema=shown, **wire.docs
            )
    return router


class Endpoint:
    """A scoring route: its format, with the engine and the limits it needs."""

    def __init__(self, wire: WireFormat, engine: RewardEngine, settings: Settings) -> None:
        self._wire = wire
        self._engine = engine
        self._settings = settings

    async def answer(self, request: Request) -> Response:
        request.state.log = _who(request)
        stated_s = timeout_of(request)
        if self._wire.patient:
            request.state.overload_status = 503  # 4xx is for good to these clients
            await self._engine.health.until_ready(self._deadline(request, stated_s))
        info = self._engine.model.info  # not ready, or draining: refused before the body is read
        check_query(request, self._wire.parameters)
        check_expected(request, info)
        settings, admission = self._settings, self._engine.admission
        deadline = self._deadline(request, stated_s)
        if not self._wire.patient:
            admission.foresee(deadline, request.state.tenant)
        reader = BodyReader(admission, request.state.tenant, body_limits(settings))
        with reading(reader):
            types = self._wire.content_types
            body = await reader.read(request, types, deadline, patient=self._wire.patient)
            await self._engine.turns.take(finishing=False)
            asked = await self._read(request, body, info)
            del body
            request.state.parsed_at = time.monotonic()
            return await _unless_gone(request, self._score(request, asked, info, stated_s))

    async def _read(self, request: Request, body: bytearray, info: ModelInfo) -> Asked:
        settings = self._settings
        sent = Sent(
            body,
            JsonReader(settings.max_json_members),
            request.headers.get("content-type", ""),
            request.headers,
            request.query_params,
            request.path_params,
        )
        read = partial(self._wire.read, sent, rules_of(settings, info))
        return await self._beside(request, read) if _is_large(body) else read()

    async def _score(
        self, request: Request, asked: Asked, info: ModelInfo, stated_s: float | None
    ) -> Response:
        options, state = asked.parsed.options, request.state
        check_model(options.model or request.query_params.get("model"), info)
        scored = await self._engine.score(
            asked.parsed.items,
            timeout_s=self._timeout_s(stated_s, options.timeout_s),
            fail=options.on_error == "fail",
            caller=Caller(state.tenant, run_of(request), self._wire.patient),
            begun_at=state.begun_at,
        )
        state.timing = scored.timing
        state.log["responses"] = scored.usage.responses
        if failed := _failed(scored):
            state.log["failed"] = failed
        write = partial(_json, asked, scored, Served(info, state.request_id))
        large = scored.usage.responses > LARGE_RESPONSES or asked.echo_bytes > LARGE_BYTES
        body = await self._beside(request, write) if large else write()
        headers = score_headers(info, scored.timing)
        return Response(body, headers=headers, media_type="application/json")

    async def _beside(self, request: Request, work: Callable[[], T]) -> T:
        return await self._engine.beside(request.state.tenant.name, work)

    def _timeout_s(self, *stated_s: float | None) -> float:
        """The smallest that the caller states; where it states none, the setting."""
        default = self._settings.timeout_s
        if self._wire.patient:
            default = min(default, PATIENCE_S)
        return min((s for s in stated_s if s is not None), default=default)

    def _deadline(self, request: Request, stated_s: float | None) -> float:
        begun_at: float = request.state.begun_at
        return begun_at + self._timeout_s(stated_s)


def rules_of(settings: Settings, info: ModelInfo) -> Rules:
    return Rules(
        image_position=info.image_position,
        max_text_chars=settings.max_text_chars,
        max_responses=settings.max_responses,
        max_images=settings.max_images,
        max_turns=settings.max_turns,
        max_parts=settings.max_parts,
        max_echo_bytes=settings.max_echo_bytes,
    )


def _who(request: Request) -> dict[str, Any]:
    """For the log line, of a request that fails too: who is to be told."""
    run = run_of(request)
    return {"tenant": request.state.tenant.name} | ({"run": run} if run else {})


def _failed(scored: Scored) -> dict[str, int]:
    """Responses of an answered request that got no reward, by code."""
    outcomes = (outcome for group in scored.outcomes for outcome in group)
    return dict(Counter(o.code for o in outcomes if isinstance(o, ServiceError)))


def _json(asked: Asked, scored: Scored, served: Served) -> bytes:
    return orjson.dumps(asked.write(scored, served))


def _is_large(body: bytearray) -> bool:
    return len(body) > LARGE_BYTES or body.count(b",") > LARGE_COMMAS


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
