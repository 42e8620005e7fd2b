"""`wait_ready` and `info` against the real application."""

import asyncio
import socket
from typing import Any

import pytest

from basereward_client import AsyncRewardClient, NotReady, RewardClient, Unauthorized
from tests.client.fault_proxy import proxied
from tests.client.serving import BOTH, Live, live


@BOTH
def test_info(server: Live, kind: str) -> None:
    assert _info(kind, server.url)["model"]["fingerprint"] == server.model.info.fingerprint


def _info(kind: str, url: str) -> dict[str, Any]:
    if kind == "sync":
        with RewardClient(url) as client:
            return client.info()

    async def awaited() -> dict[str, Any]:
        async with AsyncRewardClient(url) as client:
            return await client.info()

    return asyncio.run(awaited())


def _wait_ready(kind: str, url: Any, timeout: float | None, **settings: Any) -> None:
    async def awaited() -> None:
        async with AsyncRewardClient(url, **settings) as client:
            await client.wait_ready(timeout)

    if kind == "async":
        asyncio.run(awaited())
    else:
        with RewardClient(url, **settings) as client:
            client.wait_ready(timeout)


@BOTH
def test_every_url_has_to_be_ready(server: Live, kind: str) -> None:
    _wait_ready(kind, server.url, None)
    with proxied(server.portal, [server.port]) as late:
        server.portal.call(late.shut)
        with pytest.raises(NotReady, match=f"{late.url}: ConnectError") as caught:
            _wait_ready(kind, [server.url, late.url], 0.3)
        assert server.url not in str(caught.value)
        server.portal.call(late.open)
        _wait_ready(kind, [server.url, late.url], 20)


def test_probes_on_another_port_are_no_obstacle() -> None:
    """With an ops port there is no /readyz on this one; /info tells as well."""
    with live(ops_port=_free_port(), api_key="KEY") as split:
        _wait_ready("sync", split.url, 20, api_key="KEY")
        with pytest.raises(Unauthorized):
            _wait_ready("sync", split.url, 20)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as one:
        return int(one.getsockname()[1])
