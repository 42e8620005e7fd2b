"""kill -9 in the middle of a call of 2,000 rows, and a start on the same port: every reward comes, and is right."""

import threading
from contextlib import ExitStack

from basereward_client import RewardClient, Rewards, delivery, request
from tests.drills.conftest import FAULTY
from tests.drills.traffic import wait_for
from tests.drills.wire import free_port
from tests.live.conftest import ServerProcess, serving
from tests.models import reward

ROWS = 2000
CHUNK = 25
CHUNKS_BETWEEN = 8  # that are answered before the next kill


def _start(stack: ExitStack, port: int) -> ServerProcess:
    server = stack.enter_context(serving("--port", str(port), program=FAULTY)).ready()
    server.tell("steps_s 0.05")  # 80 chunks, one at a time each, take some seconds
    return server


def _answered(server: ServerProcess) -> int:
    return sum(line["path"] == "/score" for line in server.said("request"))


def _kill(server: ServerProcess) -> int:
    """As soon as some chunks were answered; how many were."""
    wait_for(lambda: _answered(server) >= CHUNKS_BETWEEN)
    server.process.kill()
    server.wait()
    return _answered(server)


def test_kill_9_in_a_burst(note, full, monkeypatch):
    """Some chunks are lost with each server, asked again, and answered by a later one."""
    kills = 5 if full else 2
    monkeypatch.setattr(request, "LIMITS", (CHUNK, 2**20, 100))
    monkeypatch.setattr(delivery, "LONGEST_PAUSE_S", 0.5)
    items = [{"prompt": f"How much is {i // 4}?", "response": f"It is {i}."} for i in range(ROWS)]
    port, results = free_port(), list[Rewards]()
    with ExitStack() as stack:
        server = _start(stack, port)
        client = stack.enter_context(
            RewardClient(f"http://127.0.0.1:{port}", max_connections=2, timeout=300)
        )
        call = threading.Thread(target=lambda: results.append(client.score(items)))
        call.start()
        answered = []
        for _ in range(kills):
            answered.append(_kill(server))
            assert call.is_alive()
            server = _start(stack, port)
        call.join(300)
        assert server.stop() == 0
        answered.append(_answered(server))
    (rewards,) = results
    wrong = sum(got != reward(**item) for got, item in zip(rewards, items, strict=True))
    note(
        rows=ROWS,
        kills=kills,
        chunks=ROWS // CHUNK,
        answered_by_each_server=answered,
        wrong=wrong,
        missing=ROWS - len(rewards),
    )
    assert wrong == 0
    assert len(rewards) == ROWS
    assert sum(answered) >= ROWS // CHUNK
