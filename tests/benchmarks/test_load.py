"""The load generator against a server of the test's own."""

import asyncio
import threading
import time
from collections.abc import Iterator

import pytest

from benchmarks import load

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


class Echo:
    """Answers each body with itself after a delay; `refuse` is answered with 503."""

    def __init__(self, delay_s: float) -> None:
        self._delay_s = delay_s
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        self._ready.wait()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._server = self._loop.run_until_complete(
            asyncio.start_server(self._answer, "127.0.0.1")
        )
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/score"
        self._ready.set()
        self._loop.run_forever()
        self._server.close()
        self._loop.run_until_complete(self._server.wait_closed())
        self._loop.close()

    async def _answer(self, reader, writer) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].split()[0])
        body = await reader.readexactly(length)
        await asyncio.sleep(self._delay_s)
        if body == b"refuse":
            writer.write(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")
        elif body == b"chunked":
            writer.write(
                HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\nchu\r\n4\r\nnked\r\n0\r\n\r\n"
            )
        else:
            writer.write(HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        await writer.drain()
        writer.close()

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()


@pytest.fixture
def echo() -> Iterator[Echo]:
    server = Echo(delay_s=0.05)
    yield server
    server.stop()


def test_a_burst_is_answered_in_order_and_at_once(echo):
    bodies = [f"body {n}".encode() * 1000 for n in range(20)]
    begin = time.perf_counter()
    done = load.send(echo.url, bodies, load.at_once(20))
    assert time.perf_counter() - begin < 0.05 * 20 / 2  # they overlap
    assert done.bodies == bodies
    assert min(done.latencies_s) >= 0.05
    assert 0.05 <= done.tail_s <= done.makespan_s


def test_a_chunked_answer_is_joined(echo):
    assert load.send(echo.url, [b"chunked"], [0.0]).bodies == [b"chunked"]


def test_a_refusal_is_no_answer(echo):
    with pytest.raises(load.Refused, match="503"):
        load.send(echo.url, [b"x", b"refuse"], load.at_once(2))


def test_random_arrivals_have_the_rate_asked_for_and_latency_counts_from_arrival(echo):
    arrivals = load.poisson(400, rate_per_s=100.0, seed=1)
    assert arrivals == sorted(arrivals)
    assert arrivals[-1] == pytest.approx(4.0, rel=0.2)
    done = load.send(echo.url, [b"a", b"b"], [0.0, 0.2])
    assert done.makespan_s >= 0.25
    assert max(done.latencies_s) < 0.2
    assert done.tail_s < 0.15
