"""One trace a request, sent over OTLP; the only room that knows OpenTelemetry, which is an optional extra."""

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from service.errors import StartError

Span = tuple[str, float, float]  # name, begin and end in monotonic seconds

SERVICE_NAME = "basereward"
LAST_S = 2.0  # for the last traces, at the end


@dataclass(frozen=True, slots=True)
class Traced:
    """A request that is over. Never its texts, its pictures or its key."""

    span: Span
    stages: Sequence[Span]
    attributes: Mapping[str, str | int | float]
    headers: Mapping[str, str]  # with the caller's `traceparent`, if it sent one
    failed: bool  # by our fault


class Tracer:
    """Sends them in lots, from a thread of the SDK's.

    `OTEL_SERVICE_NAME`, `OTEL_TRACES_SAMPLER` and `OTEL_EXPORTER_OTLP_HEADERS` mean what they mean to every SDK.
    """

    def __init__(self, endpoint: str) -> None:
        """
        Args:
            endpoint: of the collector, without the signal's path.

        Raises:
            StartError: the extra is not installed.
        """
        try:
            self._provider, self._propagator, self._trace = _sdk(endpoint)
        except ImportError:
            raise StartError(
                "otlp_endpoint needs the extra: pip install 'basereward-service[otel]'"
            ) from None
        self._tracer = self._provider.get_tracer("service")

    def send(self, request: Traced) -> None:
        offset = time.time() - time.monotonic()
        name, begin, end = request.span
        whole = self._tracer.start_span(
            name,
            self._propagator.extract(dict(request.headers)),
            kind=self._trace.SpanKind.SERVER,
            attributes=dict(request.attributes),
            start_time=_nanoseconds(begin + offset),
        )
        inside = self._trace.set_span_in_context(whole)
        for stage, begun, ended in request.stages:
            part = self._tracer.start_span(stage, inside, start_time=_nanoseconds(begun + offset))
            part.end(_nanoseconds(ended + offset))
        if request.failed:
            whole.set_status(self._trace.StatusCode.ERROR)
        whole.end(_nanoseconds(end + offset))

    def close(self) -> None:
        """Send the last ones; a collector that is gone is not waited for."""
        last = threading.Thread(target=self._provider.shutdown, name="traces", daemon=True)
        last.start()
        last.join(LAST_S)


def _sdk(endpoint: str) -> tuple[Any, Any, Any]:
    from opentelemetry import trace
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    found = Resource.create()  # with what OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES say
    if str(found.attributes.get("service.name", "")).startswith("unknown_service"):
        found = found.merge(Resource({"service.name": SERVICE_NAME}))
    provider = TracerProvider(resource=found, shutdown_on_exit=False)
    exporter = OTLPSpanExporter(f"{endpoint.rstrip('/')}/v1/traces")
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return provider, TraceContextTextMapPropagator(), trace


def _nanoseconds(seconds: float) -> int:
    return int(seconds * 1e9)
