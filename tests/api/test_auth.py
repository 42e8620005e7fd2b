"""Keys: who may come in, before a body is read, on which routes, and that no key is ever shown."""

import base64
import json
import logging
import os

import anyio
import pytest

from service.api.auth import Keyring
from service.app import create_app
from service.errors import StartError, Unauthorized
from service.settings import Settings
from tests.api.serving import GOOD, RawCall, error_of, served, step_entered
from tests.models import StandIn, reward

pytestmark = pytest.mark.anyio

KEY = "open-sesame-123"


def bearer(key):
    return {"authorization": f"Bearer {key}"}


def basic(text):
    return {"authorization": "Basic " + base64.b64encode(text.encode()).decode()}


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param(bearer(KEY), id="bearer"),
        pytest.param({"authorization": f"bearer {KEY}"}, id="bearer-in-small-letters"),
        pytest.param(basic(f"user:{KEY}"), id="basic"),
        pytest.param(basic(f":{KEY}"), id="basic-without-user"),
    ],
)
async def test_the_key_opens(headers):
    async with served(api_key=KEY) as server:
        answer = await server.score(GOOD, headers=headers)
    assert answer["reward"] == reward(**GOOD)


async def test_the_key_in_the_url_opens():
    async with served(api_key=KEY) as server:
        answer = await server.client.post(f"http://user:{KEY}@server/score", json=GOOD)
    assert answer.status_code == 200


WRONG = [
    pytest.param({}, id="missing"),
    pytest.param({"authorization": ""}, id="empty"),
    pytest.param({"authorization": "Bearer"}, id="bearer-without-key"),
    pytest.param({"authorization": "Bearer "}, id="bearer-with-empty-key"),
    pytest.param(bearer("wrong"), id="wrong"),
    pytest.param(bearer(KEY + "4"), id="longer"),
    pytest.param(bearer(KEY[:-1]), id="shorter"),
    pytest.param(bearer(KEY.upper()), id="capitals"),
    pytest.param({"authorization": KEY}, id="no-scheme"),
    pytest.param({"authorization": f"Token {KEY}"}, id="other-scheme"),
    pytest.param(basic(f"{KEY}:"), id="basic-key-as-user"),
    pytest.param(basic(KEY), id="basic-without-colon"),
    pytest.param({"authorization": "Basic @@@"}, id="basic-not-base64"),
    pytest.param({"authorization": "Bearer schlüssel".encode()}, id="not-ascii"),
]


@pytest.mark.parametrize("headers", WRONG)
async def test_no_or_a_wrong_key_is_401_before_the_body_is_read(headers):
    async with served(api_key=KEY) as server:
        call = RawCall(server.app, headers=list(headers.items()))
        await call.run()  # no body byte is ever sent: reading it would wait for good
        assert call.received == 0
        call.error(401, "unauthorized")
        assert "Bearer" in call.headers["www-authenticate"]
        assert "Basic" in call.headers["www-authenticate"]
        await server.score(GOOD, headers=bearer(KEY))


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/health", "/metrics"])
async def test_probes_and_metrics_are_open(path):
    async with served(api_key=KEY) as server:
        assert (await server.client.get(path)).status_code == 200


CLOSED = ["/info", "/v1/models", "/version", "/docs", "/redoc", "/openapi.json", "/", "/nothing"]
TRICKS = [
    "/health/",
    "//health",
    "/HEALTH",
    "/health/x",
    "/metrics/x",
    "/x/health",
    "/health/../info",
]


@pytest.mark.parametrize("path", [*CLOSED, *TRICKS])
async def test_everything_else_needs_the_key(path):
    async with served(api_key=KEY) as server:
        call = RawCall(server.app, path=path)
        call._scope["method"] = "GET"
        (await call.run()).error(401, "unauthorized")


@pytest.mark.parametrize("path", ["/info", "/v1/models", "/version", "/docs", "/openapi.json"])
async def test_the_key_opens_the_other_routes(path):
    async with served(api_key=KEY) as server:
        assert (await server.client.get(path, headers=bearer(KEY))).status_code == 200


@pytest.mark.parametrize("host", ["a/health?x=", "a/metrics#", "server/livez", "/health"])
async def test_a_forged_host_opens_nothing(host):
    async with served(api_key=KEY) as server:
        for path in ("/info", "/score"):
            call = RawCall(server.app, path=path, headers=[("host", host)])
            call.send(json.dumps(GOOD).encode())
            (await call.run()).error(401, "unauthorized")


async def test_without_a_key_everything_is_open():
    async with served() as server:
        for path in ("/info", "/v1/models", "/version", "/docs", "/openapi.json"):
            assert (await server.client.get(path)).status_code == 200


TENANTS = {
    "tenants": [
        {"name": "red", "keys": ["red-key-1", "red-key-2"], "max_queued_responses": 2},
        {"name": "blue", "keys": ["blue-key"], "weight": 2},
    ]
}


@pytest.fixture
def key_file(tmp_path):
    path = tmp_path / "keys.json"
    path.write_text(json.dumps(TENANTS))
    return path


async def test_every_key_of_the_file_opens(key_file):
    async with served(api_key_file=key_file, api_key=KEY) as server:
        for key in ("red-key-1", "red-key-2", "blue-key", KEY):
            await server.score(GOOD, headers=bearer(key))
        answer = await server.client.post("/score", json=GOOD, headers=bearer("red"))
        error_of(answer, 401, "unauthorized")


async def test_a_tenants_quota_is_its_own(key_file):
    """Red's two keys share two places; blue is not bound by them."""
    model = StandIn()
    scores = {}

    async def send(key, responses):
        body = {"prompt": "p", "responses": responses}
        scores[key] = await server.score(body, headers=bearer(key))

    async with served(model, api_key_file=key_file) as server, anyio.create_task_group() as tasks:
        model.hold()
        tasks.start_soon(send, "red-key-1", ["a", "b"])
        await step_entered(model)
        answer = await server.client.post("/score", json=GOOD, headers=bearer("red-key-2"))
        error_of(answer, 429, "quota_exceeded")
        tasks.start_soon(send, "blue-key", ["c"] * 3)
        await server.metric_becomes("basereward_inflight_requests", 3)  # with the scrape itself
        model.release()
        await server.metric_becomes("basereward_inflight_requests", 1)
        await server.score(GOOD, headers=bearer("red-key-2"))
    assert scores["red-key-1"]["rewards"] == [[reward("p", "a"), reward("p", "b")]]
    assert scores["blue-key"]["rewards"] == [[reward("p", "c")] * 3]


BAD_FILES = [
    pytest.param("[" * 100_000, id="deep"),
    pytest.param("", id="empty"),
    pytest.param("not json", id="not-json"),
    pytest.param("[]", id="a-list"),
    pytest.param('{"tenants": []}', id="no-tenants"),
    pytest.param('{"tenants": [{"name": "a", "keys": []}]}', id="no-keys"),
    pytest.param('{"tenants": [{"name": "a", "keys": [""]}]}', id="empty-key"),
    pytest.param('{"tenants": [{"name": "", "keys": ["k"]}]}', id="no-name"),
    pytest.param('{"tenants": [{"name": "a", "keys": ["k"], "x": 1}]}', id="unknown-entry"),
    pytest.param(
        '{"tenants": [{"name": "a", "keys": ["k"]}, {"name": "b", "keys": ["k"]}]}',
        id="one-key-for-two-tenants",
    ),
]


@pytest.mark.parametrize("text", BAD_FILES)
def test_a_bad_key_file_stops_the_start(tmp_path, text):
    path = tmp_path / "keys.json"
    path.write_text(text)
    with pytest.raises(StartError):
        Keyring(None, path)


KEY_FILE_FAULTS = {
    '["k1"]': """must be an object, {"tenants": [{"name": "…", "keys": ["…"]}]}""",
    '{"tenants": [{"name": "a", "keys": "k1"}]}': "tenants.0.keys: Input should be a valid list",
    "k1": "is not JSON",
}


@pytest.mark.parametrize("text", KEY_FILE_FAULTS)
def test_a_key_file_that_does_not_do_is_told_what_it_must_be(tmp_path, text):
    path = tmp_path / "keys.json"
    path.write_text(text)
    with pytest.raises(StartError) as refused:
        Keyring(None, path)
    line = str(refused.value)
    assert KEY_FILE_FAULTS[text] in line
    assert "k1" not in line
    with pytest.raises(StartError, match=r"cannot read the key file .*: No such file or directory"):
        Keyring(None, tmp_path / "nowhere.json")


def test_a_missing_key_file_stops_the_start(tmp_path):
    with pytest.raises(StartError):
        create_app(Settings(api_key_file=tmp_path / "nowhere.json"), StandIn())


async def test_keys_are_never_shown(key_file, caplog):
    caplog.set_level(logging.DEBUG)
    secrets = [KEY, "red-key-1", "blue-key", "wrong-key", basic(f"u:{KEY}")["authorization"][6:]]
    model = StandIn()
    model.broken.add("bad")
    settings = {"api_key": KEY, "api_key_file": key_file}
    async with served(model, **settings) as server:
        for headers in (bearer(KEY), basic(f"u:{KEY}"), bearer("red-key-1"), bearer("wrong-key")):
            for body in (GOOD, {}, {"prompt": "p", "response": "bad"}):
                await server.client.post("/score", json=body, headers=headers)
        shown = [
            (await server.client.get(path, headers=bearer(KEY))).text
            for path in ("/metrics", "/info", "/openapi.json", "/v1/models")
        ]
    shown += [
        repr(Settings(**settings)),
        str(Settings(**settings)),
        str(Settings(**settings).public()),
    ]
    ours = [r for r in caplog.records if r.name.startswith(("service", "uvicorn"))]
    assert any(record.name == "service.access" for record in ours)
    shown += [str(record.__dict__) for record in ours]
    for secret in secrets:
        assert not [text for text in shown if secret in text], secret


def write_keys(path, text: str) -> None:
    path.write_text(text)
    write_keys.times += 1
    os.utime(path, ns=(write_keys.times,) * 2)  # however coarse the clock of the file system


write_keys.times = 1


def test_keys_are_exchanged_beside_the_running_server(tmp_path):
    path = tmp_path / "keys.json"
    write_keys(path, '{"tenants": [{"name": "a", "keys": ["old"]}]}')
    keyring = Keyring("own", path)
    tenant = keyring.tenant("Bearer old")
    tenant.held_responses = 7
    assert keyring.renew() is None
    write_keys(
        path,
        '{"tenants": [{"name": "a", "keys": ["old", "new"], "weight": 2, "max_queued_responses": 9}]}',
    )
    assert keyring.renew() is None
    assert keyring.tenant("Bearer new") is keyring.tenant("Bearer old") is tenant
    assert (tenant.weight, tenant.max_queued_responses, tenant.held_responses) == (2, 9, 7)
    write_keys(path, '{"tenants": [{"name": "a", "keys": ["new"]}]}')
    assert keyring.renew() is None
    with pytest.raises(Unauthorized):
        keyring.tenant("Bearer old")
    assert keyring.tenant("Bearer own").name == "default"


def test_a_tenant_is_alone_while_no_key_is_anothers(tmp_path):
    path = tmp_path / "keys.json"
    write_keys(path, '{"tenants": [{"name": "a", "keys": ["k", "l"]}]}')
    assert Keyring(None, None).tenant(None).alone
    keyring = Keyring(None, path)
    tenant = keyring.tenant("Bearer k")
    assert tenant.alone
    write_keys(path, '{"tenants": [{"name": "a", "keys": ["k"]}, {"name": "b", "keys": ["l"]}]}')
    assert keyring.renew() is None
    assert (tenant.alone, keyring.tenant("Bearer l").alone) == (False, False)
    own = Keyring("own", path)
    assert not own.tenant("Bearer own").alone


@pytest.mark.parametrize("text", BAD_FILES)
def test_a_bad_file_changes_nothing_and_is_said(tmp_path, text):
    path = tmp_path / "keys.json"
    write_keys(path, '{"tenants": [{"name": "a", "keys": ["k"], "weight": 3}]}')
    keyring = Keyring(None, path)
    write_keys(path, text)
    assert "key file" in keyring.renew()
    assert keyring.tenant("Bearer k").weight == 3
