"""Clients in forked and spawned processes, pickled and copied: nothing is shared, everything is right."""

import copy
import multiprocessing
import os
import pickle
import signal
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import pytest

from basereward_client import AsyncRewardClient, BadRequest, ItemError, RewardClient
from tests.client.fault_proxy import proxied
from tests.client.serving import Live, some_items
from tests.client.workers import scored

WAIT_S = 60
# Python 3.12 warns of every fork beside a thread; this is what is tested here.
may_fork = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")


@may_fork
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_used_client_goes_on_in_a_child_and_in_the_parent(server: Live, method: str) -> None:
    items, expected = some_items(tag=method)
    context = multiprocessing.get_context(method)
    with proxied(server.portal, [server.port]) as proxy, RewardClient(proxy.url) as client:
        assert client.score(items) == expected
        before = proxy.connections
        with ProcessPoolExecutor(2, mp_context=context) as pool:
            futures = [pool.submit(scored, client, items) for _ in range(4)]
            assert client.score(items) == expected
            for future in futures:
                rewards = future.result(WAIT_S)
                assert rewards == expected
                assert rewards.fingerprint == server.model.info.fingerprint
        assert client.score(items) == expected
        assert proxy.connections >= before + 4  # each child's call on one of its own


@may_fork
def test_a_forked_child_inherits_the_object_but_not_its_connections(server: Live) -> None:
    """Without pickling: the very object, as a trainer that forks its workers uses it."""
    items, expected = some_items()
    with proxied(server.portal, [server.port]) as proxy, RewardClient(proxy.url) as client:
        assert client.score(items) == expected
        receiver, sender = multiprocessing.get_context("fork").Pipe(duplex=False)
        child = os.fork()
        if child == 0:
            try:
                sender.send(list(client.score(items)))
                client.close()
            finally:
                os._exit(0)
        assert receiver.poll(WAIT_S)
        assert receiver.recv() == expected
        os.waitpid(child, 0)
        assert proxy.connections == 2
        assert client.score(items) == expected
        assert proxy.connections == 2  # what the child closed was not the parent's


@may_fork
def test_a_fork_in_the_middle_of_a_call_disturbs_neither(server: Live) -> None:
    items, expected = some_items()
    with RewardClient(server.url) as client:
        server.model.hold()
        results: list[object] = []
        call = threading.Thread(target=lambda: results.append(client.score(items)))
        call.start()
        assert server.model.entered.acquire(timeout=WAIT_S)
        receiver, sender = multiprocessing.get_context("fork").Pipe(duplex=False)
        child = os.fork()
        if child == 0:
            try:
                sender.send(list(client.score(items)))
            finally:
                os._exit(0)
        server.model.release()
        assert receiver.poll(WAIT_S)
        assert receiver.recv() == expected
        os.waitpid(child, 0)
        call.join(WAIT_S)
        assert results == [expected]


@may_fork
def test_a_child_forked_in_the_middle_of_a_call_keeps_no_connection_open(server: Live) -> None:
    """What the parent cancels ends at the server, however long the child lives."""
    items, _ = some_items()
    server.model.hold()
    engine = server.app.state.engine
    with RewardClient(server.url) as client:
        call = client._calls.submit(client._calls.score(client, items, time.monotonic()))
        assert server.model.entered.acquire(timeout=WAIT_S)
        receiver, sender = multiprocessing.get_context("fork").Pipe(duplex=False)
        child = os.fork()
        if child == 0:
            receiver.poll(WAIT_S)  # until it is killed
            os._exit(0)
        sender.close()
        try:
            call.cancel()
            until = time.monotonic() + WAIT_S
            while engine.admission._responses:
                assert time.monotonic() < until, "the server was not told"
                time.sleep(0.02)
        finally:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            server.model.release()


@pytest.mark.parametrize("copied", [lambda c: pickle.loads(pickle.dumps(c)), copy.deepcopy])
@pytest.mark.parametrize("kind", [RewardClient, AsyncRewardClient])
def test_a_copy_has_the_settings_and_a_life_of_its_own(kind: Any, copied: Any) -> None:
    client = kind(["http://a:1", "http://b:2/r/"], api_key="k", retries=3, run="r", timeout=5)
    twin = copied(client)
    assert type(twin) is kind
    assert twin.__getstate__() == client.__getstate__()
    assert list(twin.urls) == ["http://a:1", "http://b:2/r"]


def test_a_pinned_function_travels_with_the_client(server: Live) -> None:
    with RewardClient(server.url, expect_fingerprint="first") as client:
        client.score([{"prompt": "p", "response": "r"}])
        twin = pickle.loads(pickle.dumps(client))
    assert twin.expect_fingerprint == server.model.info.fingerprint


def test_errors_cross_processes() -> None:
    bad = [ItemError(3, None, "invalid_item", "m")]
    error = BadRequest("m", code="c", request_id="req-1", param="items[3]", items=bad)
    twin = pickle.loads(pickle.dumps(error))
    assert (type(twin), str(twin), vars(twin)) == (BadRequest, "m", vars(error))


def test_rewards_cross_processes(server: Live) -> None:
    items, expected = some_items()
    with RewardClient(server.url) as client:
        rewards = client.score(items)
    twin = pickle.loads(pickle.dumps(rewards))
    assert twin == expected
    assert vars(twin) == vars(rewards)
