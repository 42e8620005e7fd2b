"""Around every request: its id, its one log line, its metrics, and an answer whatever happens inside."""

import asyncio
import logging
import random
import re
import time
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import suppress
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl

from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.problems import problem
from service.engine import Timing
from service.errors import Busy, Failure, ServiceError, without_frames
from service.metrics import Metrics
from service.tracing import Span, Traced, Tracer

log = logging.getLogger("service.access")

_REQUEST_ID = re.compile(r"[\w.:+/=-]{1,128}", re.ASCII)
OVERLOAD_STATUS = 429  # where neither the operator nor the route says otherwise
PROBES = frozenset({"/livez", "/readyz", "/health", "/metrics"})
CLIENT_CLOSED = 499  # as nginx logs it; never sent


class RequestContext:
    """ASGI, outermost: sets `state.request_id` and `state.begun_at`."""

    def __init__(
        self,
        app: ASGIApp,
        metrics: Metrics,
        overload_status: int | None,
        draining: Callable[[], bool] = lambda: False,
        log_sample: float = 1.0,
        tracer: Tracer | None = None,
    ) -> None:
        self._app = app
        self._metrics = metrics
        self._overload_status = overload_status
        self._draining = draining
        self._log_sample = log_sample
        self._tracer = tracer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answer = _Answer(scope, send, self._draining)
        state = scope.setdefault("state", {})
        state["at_end"] = []
        state["request_id"], state["begun_at"] = answer.request_id, time.monotonic()
        self._metrics.inflight(+1)
        code: str | None = "internal"
        try:
            code = await self._guarded(scope, receive, answer)
        finally:
            self._metrics.inflight(-1)
            seconds = time.monotonic() - state["begun_at"]
            self._metrics.request_done(_route(scope), answer.status, code, seconds)
            failed = code or "failed" in state.get("log", {})
            if failed or random.random() < self._log_sample:  # noqa: S311 - a sample
                _log(scope, answer, code, seconds)
            if self._tracer is not None and scope["path"] not in PROBES:
                self._tracer.send(_traced(scope, answer, code))
            await _end(state)

    async def _guarded(self, scope: Scope, receive: Receive, answer: "_Answer") -> str | None:
        """Run the application; whatever it raises becomes an answer. Returns the error code, if any."""
        try:
            _check_refusal(scope["state"])
            await self._app(scope, _refusable(scope["state"], receive), answer.send)
        except ClientDisconnect:
            answer.status = answer.status or CLIENT_CLOSED
            return "client_closed"
        except asyncio.CancelledError:
            if not self._draining():
                raise
            # What is not done when a drain's time is up: a body still coming, say.
            error = Busy("the server is shutting down", code="draining")
            return await self._refuse(error, scope, receive, answer)
        except ServiceError as error:
            return await self._refuse(without_frames(error), scope, receive, answer)
        except MemoryError as error:  # the request may be good, and find room later
            without_frames(error)
            busy = Busy("the server has no memory for this request now")
            return await self._refuse(busy, scope, receive, answer)
        except Exception as error:
            logging.getLogger(__name__).exception(
                "unhandled", extra={"request_id": answer.request_id}
            )
            without_frames(error)
            return await self._refuse(Failure("an internal error"), scope, receive, answer)
        return None

    async def _refuse(
        self, error: ServiceError, scope: Scope, receive: Receive, answer: "_Answer"
    ) -> str:
        self._metrics.rejected(error.code)
        if not answer.status:
            status = self._overload_status or scope["state"].get("overload_status", OVERLOAD_STATUS)
            response = problem(error, answer.request_id, status)
            await response(scope, receive, answer.send)
        return error.code


class _Answer:
    """What has been sent; adds the request id to it, and during a drain that it is the connection's last."""

    def __init__(self, scope: Scope, send: Send, draining: Callable[[], bool]) -> None:
        self._draining = draining
        self.status = 0  # until a response starts
        self.request_id = _request_id(scope)
        self._send = send

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            headers["X-Request-Id"] = self.request_id
            if self._draining():
                headers["Connection"] = "close"
        await self._send(message)


def _check_refusal(state: Mapping[str, Any]) -> None:
    """
    Raises:
        ServiceError: what the connection's protocol refused the request for.
    """
    refusal: ServiceError | None = state.get("refusal")
    if refusal is not None:
        raise refusal


def _refusable(state: Mapping[str, Any], receive: Receive) -> Receive:
    async def received() -> Message:
        message = await receive()
        _check_refusal(state)  # of the rest of the body
        return message

    return received


async def _end(state: MutableMapping[str, Any]) -> None:
    """Give back what the request held, once its answer has been taken or its connection is gone."""
    sent = state.pop("sent", None)  # the connection's, which holds the state in turn
    with suppress(asyncio.CancelledError):  # the drain's time is up
        if state["at_end"] and sent is not None:
            await sent()
    for give_back in state["at_end"]:
        give_back()


def _request_id(scope: Scope) -> str:
    """The caller's, if it is harmless in a log and a header; else a new one."""
    in_query = dict(parse_qsl(scope["query_string"].decode("latin-1"))).get("request_id", "")
    in_header = (v.decode("latin-1") for k, v in scope["headers"] if k == b"x-request-id")
    given = next(in_header, in_query)
    if _REQUEST_ID.fullmatch(given):
        return str(given)
    # Not uuid4: asking the system for randomness lets go of the interpreter, in the middle of the event loop.
    return f"req-{random.getrandbits(128):032x}"


def _route(scope: Scope) -> str:
    """The path as it was declared, so that names in it are not many labels."""
    route = scope.get("route")
    return route.path if isinstance(route, Route) else str(scope["path"])


def _log(scope: Scope, answer: _Answer, code: str | None, seconds: float) -> None:
    extra: dict[str, Any] = {
        "request_id": answer.request_id,
        "method": scope["method"],
        "path": scope["path"],
        "status": answer.status,
        "ms": round(seconds * 1000, 1),
    }
    if scope.get("client"):
        extra["peer"] = scope["client"][0]
    if code:
        extra["code"] = code
    extra |= scope["state"].get("log", {})
    level = logging.DEBUG if scope["path"] in PROBES else logging.INFO
    log.log(level, "request", extra=extra)


def _traced(scope: Scope, answer: _Answer, code: str | None) -> Traced:
    state, now = scope["state"], time.monotonic()
    begun: float = state["begun_at"]
    attributes: dict[str, str | int | float] = {
        "http.request.method": scope["method"],
        "http.route": _route(scope),
        "http.response.status_code": answer.status,
        "basereward.request_id": answer.request_id,
    }
    if code:
        attributes["error.type"] = code
    attributes |= {f"basereward.{k}": v for k, v in _flat(state.get("log", {}))}
    wanted = ("traceparent", "tracestate")
    headers = {k.decode("latin-1"): v.decode("latin-1") for k, v in scope["headers"]}
    return Traced(
        (f"{scope['method']} {_route(scope)}", begun, now),
        _stages(begun, state.get("parsed_at"), state.get("timing"), now),
        attributes,
        {k: headers[k] for k in wanted if k in headers},
        answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR,
    )


def _flat(told: Mapping[str, Any]) -> Iterator[tuple[str, str | int | float]]:
    """An attribute is a plain value: what is told by code becomes one of each code."""
    for name, value in told.items():
        if isinstance(value, Mapping):
            yield from ((f"{name}.{code}", count) for code, count in value.items())
        else:
            yield name, value


def _stages(begun: float, parsed_at: float | None, timing: Timing | None, now: float) -> list[Span]:
    """Where the time went; of a request that was refused, as far as it came."""
    if parsed_at is None:
        return []
    parse = ("parse", begun, parsed_at)
    if timing is None:
        return [parse]
    prepared = begun + timing.prepare
    started = prepared + timing.queue
    ended = started + timing.forward
    return [
        parse,
        ("prepare", parsed_at, max(parsed_at, prepared)),
        ("queue", prepared, started),
        ("step", started, ended),
        ("answer", ended, now),
    ]
