"""The application as tests meet it: served in process, called as raw ASGI, or listening on loopback."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import anyio
import httpx
import uvicorn
from fastapi import FastAPI

from service.api.schemas import ErrorBody, ScoreResponse
from service.app import create_app
from service.settings import Settings
from tests.models import WAIT_S, StandIn, reward

GOOD = {"prompt": "Is all well?", "response": "Yes."}
AT_ONCE_S = 10.0  # on a busy machine; whatever a refusal could wait for by mistake takes longer


@dataclass
class Served:
    app: FastAPI
    model: StandIn
    client: httpx.AsyncClient

    async def score(self, body: Any, **kwargs: Any) -> dict[str, Any]:
        """The answer to a request that has to succeed."""
        answer = await self.client.post("/score", json=body, **kwargs)
        assert answer.status_code == 200, answer.text
        ScoreResponse.model_validate_json(answer.content, strict=True)
        return answer.json()

    async def refused(self, body: Any, status: int, code: str, **kwargs: Any) -> dict[str, Any]:
        """The error of a request that has to fail at once, and leave the next one alone."""
        begun = time.monotonic()
        raw = {"content": body} if isinstance(body, bytes) else {"json": body}
        answer = await self.client.post("/score", **raw, **kwargs)
        took = time.monotonic() - begun
        error = error_of(answer, status, code)
        assert took < AT_ONCE_S
        await self.still_scores()
        return error

    async def still_scores(self) -> None:
        answer = await self.client.post("/score", json=GOOD)
        assert answer.status_code == 200, answer.text
        assert answer.json()["reward"] == reward(**GOOD)

    async def metric(self, line: str) -> float:
        """One sample of /metrics by its name and labels."""
        text = (await self.client.get("/metrics")).text
        values = [row.rpartition(" ")[2] for row in text.splitlines() if row.startswith(line + " ")]
        assert len(values) == 1, f"{line} stands {len(values)} times in /metrics"
        return float(values[0])

    async def metric_becomes(self, line: str, value: float) -> None:
        async def reached() -> bool:
            return await self.metric(line) == value

        await until(reached)


def error_of(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """The error, after checking that it has the one shape every error has."""
    assert answer.status_code == status, answer.text
    ErrorBody.model_validate_json(answer.content, strict=True)
    body = answer.json()
    assert set(body) == {"error"}
    error: dict[str, Any] = body["error"]
    assert set(error) - {"items", "current"} == {"code", "message", "param", "request_id"}
    assert error["code"] == code, error
    assert error["message"]
    assert error["request_id"] == answer.headers["x-request-id"]
    assert ("retry-after" in answer.headers) == (status in (429, 503))
    return error


@asynccontextmanager
async def served(model: StandIn | None = None, **settings: Any) -> AsyncIterator[Served]:
    """An application in its lifespan, with a client that needs no socket."""
    model = model or StandIn()
    settings.setdefault("prepare_threads", 2)
    app = create_app(Settings(**settings), model)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://server") as client,
    ):
        try:
            yield Served(app, model, client)
        finally:
            model.release()


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Return as soon as the condition holds."""
    with anyio.fail_after(WAIT_S):
        while not await condition():  # noqa: ASYNC110 - what is waited for sets no event
            await anyio.sleep(0.005)


async def step_entered(model: StandIn) -> None:
    """Return once a step stands in the held model."""
    assert await anyio.to_thread.run_sync(lambda: model.entered.acquire(timeout=WAIT_S))


async def response_staged(model: StandIn, response: str) -> None:
    """Return once the response is in a step that was laid out."""

    async def staged() -> bool:
        return any(response in step for step in model.staged)

    await until(staged)


class RawCall:
    """One request as bare ASGI: the test decides when body bytes come and when the caller hangs up."""

    def __init__(self, app: FastAPI, path: str = "/score", headers: Any = (), query: str = ""):
        self._app = app
        self.inbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.received = 0  # messages the application asked for and got
        self.status: int | None = None
        self.headers: dict[str, str] = {}
        self.body = b""
        pairs = [(b"host", b"server"), (b"content-type", b"application/json")]
        given = [(k.encode(), v if isinstance(v, bytes) else v.encode()) for k, v in headers]
        names = {k for k, _ in given}
        self._scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "POST",
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "root_path": "",
            "query_string": query.encode(),
            "headers": [pair for pair in pairs if pair[0] not in names] + given,
            "client": ("127.0.0.1", 1),
            "server": ("server", 80),
        }

    def send(self, body: bytes, more: bool = False) -> None:
        self.inbox.put_nowait({"type": "http.request", "body": body, "more_body": more})

    def hang_up(self) -> None:
        self.inbox.put_nowait({"type": "http.disconnect"})

    async def run(self) -> "RawCall":
        with anyio.fail_after(WAIT_S):
            await self._app(self._scope, self._receive, self._send)
        return self

    def error(self, status: int, code: str) -> dict[str, Any]:
        assert self.status is not None, "nothing was answered"
        answer = httpx.Response(self.status, headers=self.headers, content=self.body)
        return error_of(answer, status, code)

    async def _receive(self) -> dict[str, Any]:
        message = await self.inbox.get()
        self.received += 1
        return message

    async def _send(self, message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {k.decode().lower(): v.decode() for k, v in message["headers"]}
        else:
            self.body += message.get("body", b"")


@asynccontextmanager
async def listening(app: FastAPI) -> AsyncIterator[int]:
    """The application behind a real server; its port."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        app, log_config=None, access_log=False, ws="none", timeout_graceful_shutdown=5
    )
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:

        async def started() -> bool:
            return server.started or serving.done()

        await until(started)
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        await serving
        listener.close()
