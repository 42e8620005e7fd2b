"""The disk with the log and the temporary files is full: scoring goes on, and lines come again when there is room."""

import asyncio
import base64
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.drills.traffic import Callers, wait_for
from tests.drills.wire import free_port
from tests.inputs.pictures import pixels, png, raster
from tests.models import reward

pytestmark = pytest.mark.anyio

SIDE = 1000  # a picture of 3 MB: three times the disk


@pytest.fixture
def disk(tmp_path) -> Iterator[Path]:
    """One of 1 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    done = subprocess.run(mount, capture_output=True, text=True)
    if done.returncode != 0:
        pytest.fail(f"this drill mounts a tmpfs, for which it must be root: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@contextmanager
def logging_to(log: Path, port: int) -> Iterator[None]:
    """A server whose stderr is that file, and whose temporary files are beside it."""
    command = [sys.executable, "-m", "tests.drills.replica", "--port", str(port)]
    env = {"TMPDIR": str(log.parent), "PATH": "/usr/bin:/bin"}
    with log.open("ab") as stderr:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=stderr, env=env)
    try:
        wait_for(lambda: _is_ready(port))
        yield
        process.terminate()
        assert process.wait(60) == 0
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def _is_ready(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/readyz").status_code == 200
    except httpx.HTTPError:
        return False


async def test_disk_full(disk, note, full):
    """JSON, base64 pictures and forms of 3 MB are scored right while not a byte can be written."""
    seconds = 60 if full else 5
    log, filler, port = disk / "log", disk / "filler", free_port()
    picture = png(SIDE, SIDE)
    with logging_to(log, port):
        url = f"http://127.0.0.1:{port}"
        callers, until = Callers(url), asyncio.Event()
        load = asyncio.ensure_future(callers.closed_loop(8, until))
        await _comes(lambda: callers.tally.scored > 200)
        written = await asyncio.to_thread(_fill, filler)
        full_at, before = log.stat().st_size, callers.tally.scored
        pictures = 0
        for _ in range(seconds):
            await asyncio.to_thread(_score_pictures, url, picture)
            pictures += 2
            await asyncio.sleep(1)
        during, grown = callers.tally.scored - before, log.stat().st_size - full_at
        filler.unlink()
        await _comes(lambda: log.stat().st_size > full_at + grown + 20_000)
        until.set()
        await load
        await callers.close()
    lines = log.read_bytes()[full_at:].splitlines()
    torn = [line for line in lines if not _is_whole(line)]
    unwritten = sum(
        json.loads(line).get("unwritten_lines", 0) for line in lines if line not in torn
    )
    note(
        disk_bytes=written + full_at,
        full_for_s=seconds,
        scored_meanwhile=during,
        pictures_meanwhile=pictures,
        log_bytes_meanwhile=grown,
        lines_afterwards=len(lines) - len(torn),
        unwritten_lines=unwritten,
        torn_lines=len(torn),
        lost=callers.tally.lost,
    )
    assert set(callers.tally.outcomes) == {"200"}
    assert during > 100
    assert grown < 8192  # what was left of the last block
    assert len(torn) <= 2
    assert unwritten > 100  # and the log says so


async def _comes(condition) -> None:
    await asyncio.to_thread(wait_for, condition, 60)


def _fill(filler: Path) -> int:
    """Until nothing more can be written; how much could."""
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return filler.stat().st_size


def _score_pictures(url: str, picture: bytes) -> None:
    """In a form, and as base64."""
    item = {"prompt": "What is it?", "response": "Noise."}
    expected = reward("What is it?", "Noise.", raster(pixels(SIDE, SIDE)))
    parts = {"request": json.dumps(item | {"image": {"ref": "p"}}).encode(), "p": picture}
    form = httpx.post(url + "/score", files=parts, timeout=60)
    body = item | {"image": base64.b64encode(picture).decode()}
    plain = httpx.post(url + "/score", json=body, timeout=60)
    assert [answer.json().get("reward") for answer in (form, plain)] == [expected] * 2


def _is_whole(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False
