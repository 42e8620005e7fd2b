"""HEAD where GET is, `Allow` where neither is, and pages of other origins only where the operator names them."""

import subprocess
import sys

import pytest

from tests.api.serving import GOOD, error_of, served

pytestmark = pytest.mark.anyio

GETS = [
    "/livez", "/readyz", "/health", "/metrics", "/v2/health/live", "/v2/health/ready", "/info",
    "/v1/models", "/version", "/docs", "/openapi.json", "/", "/v2/models/basereward",
]  # fmt: skip
ORIGIN = {"origin": "https://notebook.example"}
PREFLIGHT = ORIGIN | {
    "access-control-request-method": "POST",
    "access-control-request-headers": "authorization,content-type,x-run",
}


@pytest.mark.parametrize("path", GETS)
async def test_head_is_get_without_its_body(path):
    async with served() as server:
        got = await server.client.get(path)
        head = await server.client.head(path)
    assert head.status_code == got.status_code
    assert head.content == b""
    assert head.headers["content-type"] == got.headers["content-type"] if got.content else True
    if path != "/metrics":  # which has changed since
        assert head.headers.get("content-length") == got.headers.get("content-length")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [("HEAD", "/score", "POST"), ("PUT", "/livez", "GET, HEAD"), ("DELETE", "/info", "GET, HEAD")],
)
async def test_other_methods_are_told_which(method, path, allowed):
    async with served() as server:
        answer = await server.client.request(method, path)
    assert (answer.status_code, answer.headers["allow"]) == (405, allowed)


async def test_head_needs_the_key_where_get_does():
    async with served(api_key="sesame") as server:
        assert (await server.client.head("/livez")).status_code == 200
        assert (await server.client.head("/info")).status_code == 401


async def test_other_origins_are_not_let_in_unless_named():
    async with served() as server:
        error_of(
            await server.client.options("/score", headers=PREFLIGHT), 405, "method_not_allowed"
        )
        answer = await server.client.post("/score", json=GOOD, headers=ORIGIN)
        assert "access-control-allow-origin" not in answer.headers


async def test_named_origins_are_let_in_and_may_read_errors():
    named = (ORIGIN["origin"], "http://localhost:8080")
    async with served(cors_origins=named, api_key="sesame") as server:
        asked = await server.client.options("/score", headers=PREFLIGHT)
        assert asked.status_code == 200
        assert asked.headers["access-control-allow-origin"] == ORIGIN["origin"]
        key = {"authorization": "Bearer sesame"}
        for headers, status in ((ORIGIN | key, 200), (ORIGIN, 401)):
            answer = await server.client.post("/score", json=GOOD, headers=headers)
            assert answer.status_code == status
            assert answer.headers["access-control-allow-origin"] == ORIGIN["origin"]
        other = {"origin": "https://evil.example"}
        answer = await server.client.options("/score", headers=PREFLIGHT | other)
        assert "access-control-allow-origin" not in answer.headers


NO_MEMORY = """
import resource
from service.api.strict_json import JsonReader
from service.errors import Busy
body = b'["' + b"a" * 200_000_000 + b'"]'
in_use = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (in_use + 350_000_000,) * 2)  # less than the parser wants
try:
    JsonReader(1000).read(body)
except Busy as error:
    print(error.code)
"""


def test_a_good_body_for_which_there_is_no_memory_is_not_called_malformed():
    done = subprocess.run([sys.executable, "-c", NO_MEMORY], capture_output=True, check=True)
    assert done.stdout == b"overloaded\n"
