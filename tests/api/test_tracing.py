"""Traces as a collector gets them: one a request, with where its time went, under the caller's own trace."""

import gzip
import sys
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from service.app import create_app
from service.errors import StartError
from service.settings import Settings
from service.sources import load
from tests.api.serving import GOOD, served
from tests.models import StandIn

pytestmark = pytest.mark.anyio

STAGES = ["parse", "prepare", "queue", "step", "answer"]
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@contextmanager
def collector():
    """An OTLP collector on loopback: its address, and the spans it got."""
    spans, resources = [], []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            sent = ExportTraceServiceRequest.FromString(body)
            for resource in sent.resource_spans:
                resources.append(
                    {a.key: a.value.string_value for a in resource.resource.attributes}
                )
                spans.extend(span for scope in resource.scope_spans for span in scope.spans)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", spans, resources
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def seconds(span) -> float:
    return (span.end_time_unix_nano - span.start_time_unix_nano) / 1e9


def values(span) -> dict:
    return {a.key: getattr(a.value, a.value.WhichOneof("value")) for a in span.attributes}


async def test_a_request_is_one_trace_with_its_stages_in_order():
    with collector() as (url, spans, resources):
        async with served(otlp_endpoint=url) as server:
            answer = await server.client.post(
                "/score", json=GOOD, headers={"traceparent": PARENT, "X-Run": "r7"}
            )
        body = answer.json()
    (whole,) = [span for span in spans if span.name == "POST /score"]
    parts = [span for span in spans if span is not whole]
    assert [part.name for part in parts] == STAGES
    assert whole.trace_id.hex() == PARENT.split("-")[1]
    assert whole.parent_span_id.hex() == PARENT.split("-")[2]
    assert all(part.parent_span_id == whole.span_id for part in parts)
    edges = [whole.start_time_unix_nano, *(part.end_time_unix_nano for part in parts)]
    assert edges == sorted(edges)
    assert edges[-1] == pytest.approx(whole.end_time_unix_nano, abs=1_000_000)
    timing = body["timing_ms"]
    measured = {part.name: 1000 * seconds(part) for part in parts}
    assert measured["queue"] == pytest.approx(timing["queue"], abs=0.2)
    assert measured["step"] == pytest.approx(timing["forward"], abs=0.2)
    assert measured["parse"] + measured["prepare"] == pytest.approx(timing["prepare"], abs=0.2)
    told = values(whole)
    assert told["basereward.request_id"] == body["id"]
    assert (told["http.response.status_code"], told["basereward.responses"]) == (200, 1)
    assert told["basereward.run"] == "r7"
    assert GOOD["prompt"] not in str(spans)
    assert resources[0]["service.name"] == "basereward"


async def test_a_refused_request_goes_as_far_as_it_came_and_ours_are_errors():
    model = StandIn()
    model.broken = {"bad"}
    with collector() as (url, spans, _):
        async with served(model, otlp_endpoint=url) as server:
            await server.client.post("/score", content=b"{")
            await server.client.post("/score", json=GOOD | {"response": "bad"})
            answered = GOOD | {"response": "bad", "on_error": "null"}
            assert (await server.client.post("/score", json=answered)).status_code == 200
            await server.client.get("/readyz")
    (malformed, failed, partly) = [span for span in spans if span.name == "POST /score"]
    assert values(malformed)["error.type"] == "malformed_json"
    assert malformed.status.code == 0
    assert values(failed)["error.type"] == "model_failure"
    assert failed.status.code == 2
    assert values(partly)["basereward.failed.model_failure"] == 1
    assert not [span for span in spans if "readyz" in span.name]


async def test_a_collector_that_is_gone_holds_nobody():
    async with served(otlp_endpoint="http://127.0.0.1:9") as server:
        await server.still_scores()


def test_the_usual_variable_names_the_collector():
    assert (
        load({}, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}).otlp_endpoint == "http://c:4318"
    )
    own = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "BASEREWARD_OTLP_ENDPOINT": "http://d:1"}
    assert load({}, own).otlp_endpoint == "http://d:1"


def test_without_the_extra_the_start_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with pytest.raises(StartError, match=r"basereward-service\[otel\]"):
        create_app(Settings(otlp_endpoint="http://c:4318"), StandIn())
