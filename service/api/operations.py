"""Probes, metrics and what is served: the routes of API.md §4."""

import sys
from dataclasses import asdict
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.responses import (
    HTMLResponse,
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
)

from service import __version__
from service.engine import RewardEngine
from service.metrics import CONTENT_TYPE, Metrics
from service.settings import Settings

Probe = tuple[int, bytes, str]  # status, body, media type


class Operations:
    """Answers that need no request; the routes and the ops port share them."""

    def __init__(self, engine: RewardEngine, metrics: Metrics, settings: Settings) -> None:
        self._engine = engine
        self._metrics = metrics
        self._settings = settings

    def livez(self) -> Probe:
        alive = self._engine.health.alive
        return _text(200, "alive") if alive else _text(503, "the model is stuck or dead")

    def readyz(self) -> Probe:
        unready = self._engine.health.unready
        return _text(200, "ready") if unready is None else _text(503, unready)

    def metrics(self) -> Probe:
        self._metrics.device_memory(self._engine.memory())
        return 200, self._metrics.render(), CONTENT_TYPE

    def by_path(self, path: str) -> Probe:
        answers = {
            "/livez": self.livez,
            "/readyz": self.readyz,
            "/health": self.readyz,
            "/metrics": self.metrics,
        }
        return answers[path]() if path in answers else _text(404, "not found")

    def info(self) -> dict[str, Any]:
        info = asdict(self._engine.model.info)
        details = info.pop("details")
        return {
            "version": __version__,
            "python": sys.version.split()[0],
            "model": info | {"reward_tolerance": info.pop("tolerance")},
            "checkpoint": details,
            "settings": self._settings.public(),
        }

    def models(self) -> dict[str, Any]:
        info = self._engine.model.info
        return {
            "object": "list",
            "data": [
                {
                    "id": info.name,
                    "object": "model",
                    "owned_by": "basereward",
                    "fingerprint": info.fingerprint,
                    "numerics": info.numerics,
                    "scoring": info.scoring,
                    "max_tokens": info.max_tokens,
                }
            ],
        }


def operations_router(operations: Operations, probes: bool) -> APIRouter:
    """Args:
    probes: whether this port answers probes and metrics; not when the ops port does.
    """
    router = APIRouter()
    if probes:
        for path in ("/livez", "/readyz", "/health", "/metrics"):
            router.add_api_route(
                path, _probe_route(operations, path), response_class=PlainTextResponse
            )

    @router.get("/info")
    async def info() -> Response:
        """Limits, versions, checkpoint, fingerprint, and the settings without secrets."""
        return JSONResponse(operations.info())

    @router.get("/v1/models")
    async def models() -> Response:
        """The served model, in OpenAI's list shape."""
        return JSONResponse(operations.models())

    @router.get("/version")
    async def version() -> Response:
        return JSONResponse({"version": __version__})

    @router.get("/", include_in_schema=False)
    async def home() -> Response:
        return RedirectResponse("docs")

    @router.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        # Relative: a gateway may serve all of this under a prefix that it takes off.
        return get_swagger_ui_html(openapi_url="openapi.json", title="BaseReward service")

    return router


def _probe_route(operations: Operations, path: str) -> Any:
    async def probe() -> Response:
        status, body, media_type = operations.by_path(path)
        headers = {"Retry-After": "5"} if status == HTTPStatus.SERVICE_UNAVAILABLE else None
        return Response(body, status, headers, media_type)

    probe.__name__ = path.strip("/")
    return probe


def _text(status: int, message: str) -> Probe:
    return status, message.encode() + b"\n", "text/plain; charset=utf-8"
