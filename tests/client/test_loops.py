"""Clients used from many event loops and threads, inside a running loop, cancelled and closed."""

import asyncio
import gc
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from basereward_client import (
    AsyncRewardClient,
    DeadlineExceeded,
    RewardClient,
    RewardError,
    Unavailable,
)
from tests.client.fault_proxy import FaultProxy, hang, proxied
from tests.client.serving import Live, some_items
from tests.models import reward

WAIT_S = 30
ITEM = {"prompt": "p", "response": "r"}


def _threads() -> int:
    return sum(thread.name == "basereward-client" for thread in threading.enumerate())


def test_one_client_serves_three_event_loops_in_a_row(server: Live) -> None:
    """As ms-swift calls: asyncio.run each time."""
    items, expected = some_items()
    client = AsyncRewardClient(server.url)
    for _ in range(3):
        assert asyncio.run(client.score(items)) == expected
    assert _threads() == 1
    asyncio.run(client.close())
    assert _threads() == 0


def test_one_client_serves_event_loops_at_once(server: Live) -> None:
    items, expected = some_items()
    client = AsyncRewardClient(server.url)
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda _: asyncio.run(client.score(items)), range(24)))
    asyncio.run(client.close())
    assert results == [expected] * 24


def test_one_client_serves_many_threads(server: Live) -> None:
    """Their first calls at once too: one thread of ours, and no connection lost."""
    ready = threading.Barrier(16)

    def call(i: int) -> list[float]:
        ready.wait(WAIT_S)
        return client.score([{"prompt": f"p{i}", "response": f"r{j}"} for j in range(9)])

    with RewardClient(server.url, max_connections=4) as client, ThreadPoolExecutor(16) as pool:
        results = list(pool.map(call, range(16)))
        assert _threads() == 1
    assert results == [[reward(f"p{i}", f"r{j}") for j in range(9)] for i in range(16)]


def test_a_blocking_call_works_inside_a_running_loop(server: Live) -> None:
    async def inside() -> None:
        with RewardClient(server.url) as client:
            assert client.score([ITEM]) == [reward(**ITEM)]
            assert client.score_group("p", ["r", "s"]) == [reward("p", "r"), reward("p", "s")]

    asyncio.run(inside())


def test_a_burst_of_single_rows_keeps_to_the_bound(server: Live) -> None:
    async def burst(client: AsyncRewardClient) -> list[list[float]]:
        rows = [[{"prompt": "p", "response": f"r{i}"}] for i in range(300)]
        return await asyncio.gather(*map(client.score, rows))

    with proxied(server.portal, [server.port]) as proxy:
        client = AsyncRewardClient(proxy.url, max_connections=5)
        results = asyncio.run(burst(client))
        asyncio.run(client.close())
        assert proxy.connections <= 5
    assert results == [[reward("p", f"r{i}")] for i in range(300)]


def test_cancelling_a_call_hangs_up(server: Live) -> None:
    """So that the server stops working for nobody; the client is as good as before."""

    async def cancelled(client: AsyncRewardClient, proxy: FaultProxy) -> None:
        call = asyncio.create_task(client.score([ITEM]))
        await asyncio.to_thread(_until, lambda: bool(proxy.arrived))
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call

    with proxied(server.portal, [server.port], [hang]) as proxy:
        client = AsyncRewardClient(proxy.url)
        asyncio.run(cancelled(client, proxy))
        _until(lambda: not proxy.connected)
        assert asyncio.run(client.score([ITEM])) == [reward(**ITEM)]
        asyncio.run(client.close())


@pytest.fixture
def interruptible() -> Iterator[None]:
    """A process that was started in the background ignores SIGINT."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_interrupting_a_blocking_call_hangs_up(server: Live) -> None:
    """Ctrl-C in a trainer."""
    with (
        proxied(server.portal, [server.port], [hang]) as proxy,
        RewardClient(proxy.url) as client,
    ):
        main = threading.get_ident()

        def interrupt() -> None:
            _until(lambda: bool(proxy.arrived))
            signal.pthread_kill(main, signal.SIGINT)

        threading.Thread(target=interrupt).start()
        with pytest.raises(KeyboardInterrupt):
            client.score([ITEM])
        _until(lambda: not proxy.connected)
        assert client.score([ITEM]) == [reward(**ITEM)]


def test_the_deadline_of_one_call_leaves_the_next_alone(server: Live) -> None:
    with RewardClient(server.url, timeout=0.3) as client:
        server.model.hold()
        with pytest.raises(DeadlineExceeded):
            client.score([ITEM])
        server.model.release()
        client.timeout = 30.0
        assert client.score([ITEM]) == [reward(**ITEM)]


def test_closing_answers_those_that_wait(server: Live) -> None:
    errors: list[RewardError] = []
    with proxied(server.portal, [server.port], [hang]) as proxy:
        client = RewardClient(proxy.url)

        def call() -> None:
            with pytest.raises(Unavailable, match="closed") as caught:
                client.score([ITEM])
            errors.append(caught.value)

        thread = threading.Thread(target=call)
        thread.start()
        _until(lambda: bool(proxy.arrived))
        client.close()
        thread.join(WAIT_S)
    assert [error.code for error in errors] == ["closed"]
    with pytest.raises(RuntimeError, match="closed"):
        client.score([ITEM])


def test_a_forgotten_client_ends_its_thread(server: Live) -> None:
    client = RewardClient(server.url)
    assert client.score([ITEM]) == [reward(**ITEM)]
    assert _threads() == 1
    del client
    gc.collect()  # which waits for nothing: the thread ends by itself
    until = time.monotonic() + 60
    while _threads():
        assert time.monotonic() < until
        time.sleep(0.01)


def test_an_idle_connection_that_the_server_closed_is_no_failure(server: Live) -> None:
    with proxied(server.portal, [server.port]) as proxy, RewardClient(proxy.url) as client:
        assert client.score([ITEM]) == [reward(**ITEM)]
        server.portal.call(proxy.hang_up)
        assert client.score([ITEM]) == [reward(**ITEM)]
        assert proxy.connections == 2


def _until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)
