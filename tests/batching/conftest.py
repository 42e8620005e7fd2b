"""The model's threads, started for a test and ended after it."""

import pytest

from tests.batching.running import Running
from tests.models import WAIT_S, StandIn


@pytest.fixture
def running():
    started = []

    def start(**options) -> Running:
        one = Running(StandIn(), **options)
        started.append(one)
        one.runner.start()
        return one

    yield start
    for one in started:
        one.model.release()
        one.runner.abandon()
        one.runner.join(WAIT_S)
        assert not any(thread.is_alive() for thread in one.runner._threads)
