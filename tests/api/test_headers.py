"""Headers in and out: request ids, expectations with their query forms, and what the answer tells."""

import re

import pytest

from tests.api.serving import GOOD, RawCall, error_of, served
from tests.models import reward

pytestmark = pytest.mark.anyio

MADE = re.compile(r"req-[0-9a-f]{32}")


@pytest.mark.parametrize("given", ["abc", "req-1", "a.b:c+d/e=f_g-h", "x" * 128])
async def test_request_id_is_echoed(given):
    async with served() as server:
        answer = await server.client.post("/score", json=GOOD, headers={"x-request-id": given})
        assert answer.headers["x-request-id"] == answer.json()["id"] == given
        bad = await server.client.post("/score", json={}, headers={"x-request-id": given})
        assert error_of(bad, 422, "invalid_item")["request_id"] == given


async def test_request_id_is_made():
    async with served() as server:
        ids = [(await server.score(GOOD))["id"] for _ in range(3)]
    assert all(MADE.fullmatch(name) for name in ids)
    assert len(set(ids)) == 3


@pytest.mark.parametrize(
    "hostile",
    [
        b"",
        b"x" * 129,
        b"a b",
        b"<script>",
        b'"quoted"',
        b"{json}",
        b"a;b",
        "ünïcode".encode(),
        b"\xff\xfe",
        b"a\x00b",
        b"a\nb",
        b"a\r\nX-Evil: 1",
    ],
)
async def test_hostile_request_id_is_replaced(hostile):
    async with served() as server:
        call = RawCall(server.app, headers=[("x-request-id", hostile)])
        call.send(b"{}")
        error = (await call.run()).error(422, "invalid_item")
    assert MADE.fullmatch(error["request_id"])
    assert "x-evil" not in call.headers


async def test_every_answer_has_a_request_id():
    async with served() as server:
        for path in ("/livez", "/metrics", "/info", "/nothing", "/openapi.json"):
            answer = await server.client.get(path)
            assert MADE.fullmatch(answer.headers["x-request-id"]), path


async def test_model_headers_and_server_timing():
    async with served() as server:
        answer = await server.client.post("/score", json=GOOD)
        info = server.model.info
    body, headers = answer.json(), answer.headers
    assert headers["x-model-fingerprint"] == body["fingerprint"] == info.fingerprint
    assert headers["x-model-numerics"] == body["numerics"] == info.numerics
    assert body["model"] == "basereward"
    assert answer.headers["content-type"] == "application/json"
    stages = dict(part.split(";dur=") for part in headers["server-timing"].split(", "))
    assert {k: float(v) for k, v in stages.items()} == pytest.approx(body["timing_ms"], abs=0.002)


EXPECTATIONS = [
    ("x-expect-fingerprint", "expect_fingerprint", "fingerprint"),
    ("x-expect-numerics", "expect_numerics", "numerics"),
]


@pytest.mark.parametrize(("header", "query", "name"), EXPECTATIONS)
async def test_met_expectation_scores(header, query, name):
    async with served() as server:
        value = getattr(server.model.info, name)
        for how in ({"headers": {header: value}}, {"params": {query: value}}):
            answer = await server.score(GOOD, **how)
            assert answer["reward"] == reward(**GOOD)


@pytest.mark.parametrize(("header", "query", "name"), EXPECTATIONS)
async def test_other_expectation_is_412_with_the_current_values(header, query, name):
    async with served() as server:
        info = server.model.info
        for how in ({"headers": {header: "other"}}, {"params": {query: "other"}}):
            answer = await server.client.post("/score", json=GOOD, **how)
            error = error_of(answer, 412, f"{name}_mismatch")
            assert error["current"] == {"fingerprint": info.fingerprint, "numerics": info.numerics}
            assert answer.headers["x-model-fingerprint"] == info.fingerprint
            assert answer.headers["x-model-numerics"] == info.numerics
        assert server.model.encoded == 0
        await server.still_scores()


async def test_run_and_group_key_are_taken_as_header_and_query():
    async with served() as server:
        await server.score(GOOD, headers={"x-run": "run-1", "x-group-key": "g"})
        await server.score(GOOD, params={"run": "run-1", "group_key": "g"})


async def test_retry_after_is_only_on_429_and_503():
    async with served() as server:
        assert "retry-after" not in (await server.client.post("/score", json=GOOD)).headers


@pytest.mark.parametrize("query", ["run=%C3%A9t%C3%A9", "run=%ff", "request_id=%ff", "run=\xe9"])
async def test_a_query_that_is_not_ascii_is_no_failure(query):
    async with served() as server:
        call = RawCall(server.app, query=query)
        call._scope["query_string"] = query.encode("latin-1")
        call.send(b'{"prompt": "p", "response": "r"}')
        await call.run()
    assert call.status == 200
    assert MADE.fullmatch(call.headers["x-request-id"])


async def test_request_id_in_the_query():
    async with served() as server:
        answer = await server.client.post("/score?request_id=mine", json=GOOD)
        assert answer.headers["x-request-id"] == answer.json()["id"] == "mine"
