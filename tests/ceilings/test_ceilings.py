"""What no single request may do: take memory beyond its size, or keep another tenant waiting. Prints its table (-s)."""

import asyncio
import json
import random
import subprocess
import sys
import time

import pytest

from tests.ceilings.bodies import CASES
from tests.ceilings.made import MB, made
from tests.ceilings.measured import KEYS, MIB, WATCHED, alone_p99_s, measure, two_tenants
from tests.ceilings.watched import LONG_S, SAID, watch

SLACK_S = 1.5  # on a machine that others use: `make ceilings` has the bound itself
SEED = random.SystemRandom().randrange(2**32)
REQUESTS = {name: (path, make) for name, (path, make) in CASES.items()} | {
    f"made {i} of seed {SEED}": (one.path, one.body) for i, one in enumerate(made(12, SEED))
}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with two_tenants(tmp_path_factory.mktemp("keys")) as (one, _):
        yield one


@pytest.fixture(scope="module")
def alone_s(server):
    return alone_p99_s(server, 3.0)


@pytest.mark.parametrize("name", REQUESTS)
def test_a_request_is_held_to_its_size_and_its_tenant(server, alone_s, name):
    path, make = REQUESTS[name]
    found = measure(server, name, path, make())
    sys.stdout.write(found.line() + "\n")
    assert found.statuses <= {200, 400, 413, 422}
    assert found.growth_bytes <= found.allowed_bytes, f"{found.growth_bytes / MIB:.0f} MiB"
    for p99_s, alone_p99 in zip((found.text_p99_s, found.picture_p99_s), alone_s, strict=True):
        assert p99_s <= max(3 * alone_p99, alone_p99 + SLACK_S)
    assert found.wrong == 0


def test_a_seed_is_the_same_requests():
    assert made(8, 7) == made(8, 7)
    assert len(set(made(8, 7))) == 8


def test_no_callback_holds_the_event_loop(tmp_path):
    with two_tenants(tmp_path, *WATCHED) as (server, process):
        before = len(process.said(SAID))
        small = [(path, body) for path, body in bodies() if len(body) < MB]
        for path, body in small:
            server.post(path, body, KEYS[0])
        server.batch_s()
        assert len(small) > 5
        assert process.said(SAID)[before:] == []


def bodies():
    return [(path, make()) for path, make in REQUESTS.values()]


def test_a_long_callback_is_told():
    program = "from tests.ceilings import test_ceilings as t; t.hold()"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    (line,) = done.stderr.splitlines()
    assert json.loads(line)["message"] == SAID


def hold():
    async def work():
        end = time.thread_time() + 2 * LONG_S
        while time.thread_time() < end:
            pass

    watch()
    asyncio.run(work())
