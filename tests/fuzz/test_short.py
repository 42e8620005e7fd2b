"""The short form of `make fuzz`: nothing a caller sends is answered as our fault, and others' rewards stay right."""

import random

from tests.fuzz.bodies import make
from tests.fuzz.campaign import Campaign
from tests.fuzz.document import hold_against
from tests.live.conftest import serving

INPUTS = 10_000


def test_no_input_is_our_fault():
    seed = random.SystemRandom().randrange(2**32)
    with serving("--access-log-sample", "0") as server:
        found = Campaign(server.ready().url, seed, INPUTS).run()
        assert server.process.poll() is None
    report = "\n".join([f"seed {seed}", *found.lines(), *map(repr, found.bad[:10])])
    assert not found.bad, report
    assert found.inputs == INPUTS
    assert found.scored_share >= 0.3, report
    assert found.canaries >= INPUTS // 200


def test_the_server_is_what_its_document_says():
    seed = random.SystemRandom().randrange(2**32)
    with serving("--access-log-sample", "0") as server:
        done = hold_against(server.ready().url, seed, 20)
        assert server.process.poll() is None
    assert done.returncode == 0, done.stdout + done.stderr
    assert "20 selected / 20 total" in done.stdout


def test_a_seed_is_the_same_inputs():
    once, again = ([make(random.Random(f"7-{i}")) for i in range(50)] for _ in range(2))
    assert once == again
