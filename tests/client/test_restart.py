"""A server that is killed in the middle of a call of 2,000 rows, and started again on its port."""

import threading
from collections.abc import Iterator

import httpx
import pytest

from basereward_client import RewardClient, Rewards, delivery, request
from tests.live.conftest import ServerProcess, serving

ROWS = 2000
CHUNK = 100


def _items() -> list[dict[str, str]]:
    return [
        {"prompt": f"How much is {i // 4} and {i % 7}?", "response": f"It is {i}."}
        for i in range(ROWS)
    ]


@pytest.fixture
def server() -> Iterator[ServerProcess]:
    with serving() as one:
        yield one


def test_a_call_survives_kill_9(server: ServerProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request, "LIMITS", (CHUNK, 2**20, 100))
    monkeypatch.setattr(delivery, "LONGEST_PAUSE_S", 0.5)
    port = server.url.rpartition(":")[2]
    results: list[Rewards] = []
    # Two chunks at a time, so that most are still to be sent when the first is done.
    with RewardClient(server.url, max_connections=2, timeout=120) as client:
        client.wait_ready(60)  # it is still loading
        call = threading.Thread(target=lambda: results.append(client.score(_items())))
        call.start()
        server.logged("request")
        server.process.kill()
        server.wait()
        scored_before = sum('"path": "/score"' in line for line in server.lines)
        assert 0 < scored_before < ROWS / CHUNK
        with serving("--port", port) as again:
            call.join(120)
            (rewards,) = results
            tolerance = client.info()["model"]["reward_tolerance"]
            direct = httpx.post(f"{again.url}/score", json={"items": _items()}, timeout=60)
            assert rewards == pytest.approx(direct.json()["rewards"], abs=tolerance)
            assert rewards.usage["responses"] == len(rewards) == ROWS
            assert again.process.poll() is None
