"""The judge: answers to rewards, from a server that is named, or started here and stopped again."""

import json
import os
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from basereward_client import RewardClient
from examples.shapes_grpo.world import Task

READY_S = 120.0
STOP_S = 60.0


class Judge:
    """Counts what it asks for; a score is the served model's own scalar."""

    def __init__(self, client: RewardClient) -> None:
        self._client = client
        self.rewards = 0
        self.fingerprint: str | None = None
        self.numerics: str | None = None

    def scores(self, tasks: Sequence[Task], answers: Sequence[Sequence[str]]) -> list[list[float]]:
        """One score for each answer to each task.

        Raises:
            RewardError: any of them could not be had; no reward is ever made up.
        """
        items = [
            {"prompt": task.question, "image": task.picture, "responses": list(group)}
            for task, group in zip(tasks, answers, strict=True)
        ]
        scores = self._client.score(items)
        self.rewards += sum(map(len, scores))
        self.fingerprint, self.numerics = scores.fingerprint, scores.numerics
        return list(scores)


@contextmanager
def judge(url: str | None) -> Iterator[Judge]:
    """The judge at a URL; without one, the demo model on a free port."""
    if url is None:
        with _served() as started, judge(started) as one:
            yield one
        return
    with RewardClient(url, expect_fingerprint="first", run="shapes-grpo") as client:
        client.wait_ready(READY_S)
        yield Judge(client)


@contextmanager
def _served() -> Iterator[str]:
    """`basereward serve` in a process of its own; where it listens is in its log."""
    command = [sys.executable, "-m", "service", "serve", "--port", "0"]
    # The client's variables, and a server's of another kind, would be settings of this one.
    clean = {
        name: value for name, value in os.environ.items() if not name.startswith("BASEREWARD_")
    }
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=clean) as process:  # noqa: S603
        assert process.stderr is not None
        try:
            yield _listening(process.stderr)
        finally:
            process.terminate()
            process.wait(STOP_S)


def _listening(log: Iterator[str]) -> str:
    said = []
    for line in log:
        said.append(line)
        if '"listening"' in line:
            # A pipe that nobody reads would stop the server once it is full.
            threading.Thread(target=deque, args=(log, 0), daemon=True).start()
            return str(json.loads(line)["url"])
    raise SystemExit("the server did not start:\n" + "".join(said))
