"""create_app(): the one place where the rooms are wired together."""

from importlib.metadata import version

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware

from service import __version__
from service.api import compat, openapi
from service.api.auth import Authentication, Keyring
from service.api.compat.inference import inference_router
from service.api.compat.resources_server import resources_router
from service.api.cross_origin import cross_origin
from service.api.endpoint import scoring_router
from service.api.head import HeadAsGet
from service.api.middleware import RequestContext
from service.api.operations import Operations, operations_router
from service.api.ops_port import OpsPort
from service.api.problems import refuse_http
from service.api.score import SCORE
from service.batching.planner import Planner
from service.batching.policy import BatchLimits
from service.core import RewardModel
from service.engine import AdmissionLimits, HealthLimits, RewardEngine
from service.engine.preparation import PreparationLimits, Preparer
from service.inputs.fetch import Fetcher, FetchRules
from service.lifecycle import Lifecycle
from service.metrics import Metrics
from service.settings import Settings
from service.tracing import Tracer

UNTIL_LOADED = 4096  # tokens a step; the loaded model says what suits its device
DESCRIPTION = "Scalar rewards of BaseReward checkpoints, for (picture, prompt, response)."


def create_app(settings: Settings, model: RewardModel | None = None) -> FastAPI:
    """The application. With `model` it serves that one; else it loads what the settings name.

    Raises:
        StartError: the key file does not do, or the extra that traces need is missing.
    """
    metrics = Metrics()
    metrics.built_with(__version__, version("torch"), version("transformers"))
    engine = build_engine(settings, metrics)
    operations = Operations(engine, metrics, settings)
    port = settings.ops_port
    ops = OpsPort(operations, settings.host, port) if port is not None else None
    tracer = Tracer(settings.otlp_endpoint) if settings.otlp_endpoint else None
    at_end = [tracer.close] if tracer else []
    lifecycle = Lifecycle(settings, engine, metrics, model, ops, at_end)
    app = FastAPI(
        title="BaseReward service",
        version=__version__,
        description=DESCRIPTION,
        lifespan=lifecycle.lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.lifecycle = lifecycle
    app.state.engine = engine
    app.add_exception_handler(HTTPException, refuse_http)
    _add_routes(app, engine, operations, settings)
    openapi.install(app)
    key = settings.api_key.get_secret_value() if settings.api_key is not None else None
    app.state.keyring = keyring = Keyring(key, settings.api_key_file)
    metrics.expect_tenants(keyring.tenant_names)
    _wrap(app, settings, keyring, metrics, tracer)
    return app


def _wrap(
    app: FastAPI, settings: Settings, keyring: Keyring, metrics: Metrics, tracer: Tracer | None
) -> None:
    """What stands around every route; the last one added is the outermost."""
    engine: RewardEngine = app.state.engine
    app.add_middleware(HeadAsGet)
    app.add_middleware(Authentication, keyring=keyring)
    app.add_middleware(
        RequestContext,
        metrics=metrics,
        overload_status=settings.overload_status,
        draining=lambda: engine.health.draining,
        log_sample=settings.access_log_sample,
        tracer=tracer,
    )
    if settings.cors_origins:  # outside, so that browsers may read errors too
        app.add_middleware(CORSMiddleware, **cross_origin(settings.cors_origins))


def _add_routes(
    app: FastAPI, engine: RewardEngine, operations: Operations, settings: Settings
) -> None:
    app.include_router(scoring_router([SCORE], engine, settings), tags=["score"])
    app.include_router(scoring_router(compat.FORMATS, engine, settings), tags=["trainers"])
    app.include_router(inference_router(engine, operations), tags=["trainers"])
    app.include_router(resources_router(engine, settings), tags=["trainers"])
    probes = settings.ops_port is None
    app.include_router(operations_router(operations, probes=probes), tags=["operations"])


def build_engine(settings: Settings, metrics: Metrics) -> RewardEngine:
    """An engine without a model; `attach` gives it one."""
    fetcher = Fetcher(
        FetchRules(
            frozenset(host.lower() for host in settings.allowed_url_hosts),
            settings.allow_private_urls,
            settings.allowed_file_dir,
            settings.fetch_timeout_s,
            settings.max_fetch_bytes,
        )
    )
    preparation = PreparationLimits(
        settings.prepare_threads,
        settings.max_images,
        settings.max_image_pixels,
        settings.prepared_cache_bytes,
    )
    return RewardEngine(
        AdmissionLimits(
            settings.max_responses,
            settings.max_queued_responses,
            settings.max_queued_bytes,
        ),
        Planner(
            BatchLimits(settings.max_batch_tokens or UNTIL_LOADED, settings.max_batch_responses),
            settings.batch_wait_s,
        ),
        Preparer(fetcher, preparation, metrics),
        metrics,
        health=HealthLimits(settings.hang_timeout_s, settings.max_failed_steps),
        max_runs=settings.max_runs,
    )
