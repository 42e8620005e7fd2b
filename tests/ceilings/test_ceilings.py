"""What no single request may do: take memory beyond its size, or keep another tenant waiting. Prints its table (-s)."""

import json
import sys

import pytest

from tests.ceilings.bodies import CASES
from tests.ceilings.measured import MIB, Measured, Server, alone_p99_s, measure
from tests.live.conftest import serving

KEYS = ("key-of-the-large", "key-of-the-small")
WARM = json.dumps({"prompt": "red " * 400, "responses": [f"answer {i}" for i in range(512)]})
SLACK_S = 1.5  # on a machine that others use: what `make ceilings` prints is judged by hand


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    path = tmp_path_factory.mktemp("keys") / "keys.json"
    tenants = [{"name": name, "keys": [key]} for name, key in zip(("a", "b"), KEYS, strict=True)]
    path.write_text(json.dumps({"tenants": tenants}))
    with serving("--api-key-file", str(path), "--access-log-sample", "0") as process:
        one = Server(process.ready().url, process.process.pid, KEYS)
        for _ in range(2):  # a full batch's memory is the model's, not the request's
            assert one.post("/score", WARM.encode(), KEYS[0])[0] == 200
        yield one


@pytest.fixture(scope="module")
def alone_s(server):
    return alone_p99_s(server, 3.0)


@pytest.mark.parametrize("name", CASES)
def test_a_request_is_held_to_its_size_and_its_tenant(server, alone_s, name):
    path, make = CASES[name]
    found: Measured = measure(server, name, path, make())
    sys.stdout.write(found.line() + "\n")
    assert found.status in {200, 400, 413, 422}
    assert found.growth_bytes <= found.allowed_bytes, f"{found.growth_bytes / MIB:.0f} MiB"
    assert found.canary_p99_s <= max(3 * alone_s, alone_s + SLACK_S)
    assert found.wrong == 0
