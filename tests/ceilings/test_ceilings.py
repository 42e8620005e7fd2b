"""What no single request may do: take memory beyond its size, or keep another tenant waiting. Prints its table (-s)."""

import asyncio
import json
import random
import subprocess
import sys
import time

import pytest

from tests.ceilings.bodies import named
from tests.ceilings.made import MB, made
from tests.ceilings.measured import MIB, WATCHED, alone_p99_s, measure, two_tenants
from tests.ceilings.watched import LONG_S, SAID, watch

SLACK_S = 1.5  # on a machine that others use: `make ceilings` has the bound itself
MADE = 6
NAMES = [request.name for request in named()]


@pytest.fixture(scope="module")
def requests():
    """By name those that have one, by number those that hypothesis made, of another seed in each run."""
    seed = random.SystemRandom().randrange(2**32)
    sys.stdout.write(f"seed {seed}\n")
    return {one.name: one for one in named()} | dict(
        enumerate(one.request() for one in made(MADE, seed))
    )


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with two_tenants(tmp_path_factory.mktemp("keys")) as (one, _):
        yield one


@pytest.fixture(scope="module")
def alone_s(server):
    return alone_p99_s(server, 3.0)


@pytest.mark.parametrize("name", [*NAMES, *range(MADE)])
def test_a_request_is_held_to_its_size_and_its_tenant(server, alone_s, requests, name):
    found = measure(server, requests[name])
    sys.stdout.write(found.line() + "\n")
    assert found.statuses <= {200, 400, 413, 422}
    assert found.growth_bytes <= found.allowed_bytes, f"{found.growth_bytes / MIB:.0f} MiB"
    for p99_s, alone_p99 in zip((found.text_p99_s, found.picture_p99_s), alone_s, strict=True):
        assert p99_s <= max(3 * alone_p99, alone_p99 + SLACK_S)
    assert found.wrong == 0


def test_a_seed_is_the_same_requests():
    assert made(8, 7) == made(8, 7)
    assert len(set(made(8, 7))) == 8


def test_no_callback_holds_the_event_loop(tmp_path, requests):
    with two_tenants(tmp_path, *WATCHED) as (server, process):
        before = len(process.said(SAID))
        small = [request for request in requests.values() if len(request.body) < MB]
        for request in small:
            server.send(request)
        server.full_batch_s()
        assert len(small) > 10
        assert process.said(SAID)[before:] == []


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
