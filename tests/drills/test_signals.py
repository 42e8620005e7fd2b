"""SIGTERM and SIGSTOP in the middle of a burst."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from tests.drills.traffic import calling, probe, wait_for
from tests.live.conftest import ServerProcess
from tests.models import reward

pytestmark = pytest.mark.anyio


async def test_sigterm_in_a_burst(faulty, note, full):
    """Everything that was sent before the signal is answered right; then exit code 0."""
    burst = 2048 if full else 512
    server: ServerProcess = faulty("--drain-s", "60", "--max-batch-responses", "64")
    server.tell("steps_s 0.05")
    async with calling(
        server.url, 20
    ) as callers:  # else the held step is all that is known of time
        await asyncio.to_thread(wait_for, lambda: callers.tally.scored > 200)
    server.tell("hold")
    items = [{"prompt": f"p{i}", "response": f"r{i}"} for i in range(burst)]
    connections = [await _send(server, item) for item in items]
    await asyncio.to_thread(wait_for, lambda: _inflight(server) == burst)
    server.term()
    server.logged("draining")
    server.tell("release")
    answers = await asyncio.gather(*(_read(reader, writer) for reader, writer in connections))
    assert await asyncio.to_thread(server.wait) == 0
    wrong = [a for a, item in zip(answers, items, strict=True) if a["reward"] != reward(**item)]
    assert wrong == []
    note(requests=burst, answered=len(answers), wrong=len(wrong), lost=0, exit_code=0)


async def _send(server: ServerProcess, item: dict):
    """On a connection of its own, so that all of it has left before the signal."""
    port = int(server.url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    body = json.dumps(item).encode()
    head = f"POST /score HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    await writer.drain()
    return reader, writer


async def _read(reader, writer) -> dict:
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200"), head
    fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:] if b": " in line)
    body = await reader.readexactly(int(fields[b"content-length"]))
    writer.close()
    return json.loads(body)


def _inflight(server: ServerProcess) -> int:
    text = httpx.get(f"http://127.0.0.1:{server.logged('ops port')['port']}/metrics").text
    (line,) = [row for row in text.splitlines() if row.startswith("basereward_inflight_requests ")]
    return int(float(line.split()[1]))


async def test_stopped_and_continued(faulty, note, full):
    """SIGSTOP of the whole process under load, as a frozen node does it: probes get no answer; then all goes on."""
    stopped_s = 20 if full else 4
    server = faulty("--hang-timeout-s", "10")
    async with calling(server.url, 20, timeout_s=60) as callers:
        await asyncio.to_thread(wait_for, lambda: callers.tally.scored > 100)
        os.kill(server.process.pid, signal.SIGSTOP)
        await asyncio.sleep(stopped_s)
        assert await asyncio.to_thread(probe, server, "/livez", 0.5) == 0
        os.kill(server.process.pid, signal.SIGCONT)
        alive_s = await asyncio.to_thread(wait_for, lambda: probe(server, "/livez") == 200)
        before = callers.tally.scored
        await asyncio.to_thread(wait_for, lambda: callers.tally.scored > before + 100)
    assert set(callers.tally.outcomes) == {"200"}
    assert alive_s < 2
    note(stopped_s=stopped_s, alive_after_s=round(alive_s, 2), scored=callers.tally.scored, lost=0)


@pytest.mark.parametrize("after_s", [0.3, 1.0])
def test_sigterm_while_process_1_starts(after_s):
    """Process 1 of a container: the kernel drops a SIGTERM that it does not handle yet, and a pod would be killed."""
    command = (
        "unshare",
        "--pid",
        "--fork",
        "--kill-child",
        sys.executable,
        "-m",
        "service",
        "serve",
    )
    process = subprocess.Popen([*command, "--port", "0"], stderr=subprocess.DEVNULL)
    time.sleep(after_s)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(int(children[0]), signal.SIGTERM)
    assert process.wait(20) == 0
