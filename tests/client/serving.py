"""The real application on a loopback port, in a thread of its own, for clients that block."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal
from fastapi import FastAPI

from basereward_client import AsyncRewardClient, RewardClient, Rewards
from service.app import create_app
from service.settings import Settings
from tests.api.serving import listening
from tests.inputs.pictures import pixels, png, raster
from tests.models import StandIn, reward

KINDS = ("sync", "async")
BOTH = pytest.mark.parametrize("kind", KINDS)
EITHER = pytest.mark.parametrize("on_error", ["raise", "none"])
ALLOWANCE_S = 1.0  # beyond the deadline, on a busy machine
FOR_GOOD = 200  # faults; more than fit into a short deadline


@dataclass
class Live:
    model: StandIn
    app: FastAPI
    port: int
    portal: BlockingPortal  # of the loop it runs on

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def live(model: StandIn | None = None, **settings: Any) -> Iterator[Live]:
    model = model or StandIn()
    settings.setdefault("prepare_threads", 2)
    app = create_app(Settings(**settings), model)
    # The loop of the command: asyncio's own leaves Nagle's algorithm on for sockets made with proto 0.
    with (
        start_blocking_portal(backend_options={"use_uvloop": True}) as portal,
        portal.wrap_async_context_manager(listening(app)) as port,
    ):
        try:
            yield Live(model, app, port, portal)
        finally:
            model.release()


STREET, STREET_PNG = raster(pixels(seed=1)), png(seed=1)
CAT, CAT_PNG = raster(pixels(seed=2)), png(seed=2)


def some_items(tag: str = "") -> tuple[list[dict[str, Any]], list[Any]]:
    """Items of every shape, and their rewards."""
    items: list[dict[str, Any]] = [
        {"prompt": f"p{tag}", "response": "a"},
        {"prompt": f"q{tag}", "responses": ["a", "b", "c"], "images": [STREET_PNG]},
        {"prompt": f"p{tag}", "response": "b"},
        {"prompt": f"q{tag}", "response": "d", "image": STREET_PNG},
        {"prompt": f"r{tag}", "responses": ["only"], "images": [CAT_PNG, STREET_PNG], "id": "x"},
    ]
    expected = [
        reward(f"p{tag}", "a"),
        [reward(f"q{tag}", r, STREET) for r in "abc"],
        reward(f"p{tag}", "b"),
        reward(f"q{tag}", "d", STREET),
        [reward(f"r{tag}", "only", CAT, STREET)],
    ]
    return items, expected


def score(kind: str, items: Any, url: Any, **settings: Any) -> Rewards:
    """By the client of this kind, "sync" or "async", made for the one call."""
    if kind == "sync":
        with RewardClient(url, **settings) as client:
            return client.score(items)

    async def awaited() -> Rewards:
        async with AsyncRewardClient(url, **settings) as client:
            return await client.score(items)

    return asyncio.run(awaited())


def nothing_but_errors(rewards: Rewards, expected: list[Any]) -> None:
    """Every response is None, and each has its error."""
    assert rewards == [[None] * len(row) if isinstance(row, list) else None for row in expected]
    places = [(e.index, e.response) for e in rewards.errors]
    assert places == [
        (i, r)
        for i, row in enumerate(expected)
        for r in range(len(row) if isinstance(row, list) else 1)
    ]


def singles(*responses: str) -> list[dict[str, str]]:
    return [{"prompt": f"p{i}", "response": r} for i, r in enumerate(responses)]
