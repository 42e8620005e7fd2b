"""The calls of a client, as they run on its event loop."""

import asyncio
from collections.abc import Iterable
from typing import Any

import httpx

from basereward_client import errors
from basereward_client.delivery import Delivery, refusal
from basereward_client.engine import Engine
from basereward_client.rewards import Rewards
from basereward_client.scoring import Scoring
from basereward_client.settings import Settings

POLL_S = 0.5


class Calls(Engine):
    async def score(self, settings: Settings, items: Iterable[Any], begun: float) -> Rewards:
        return await Scoring(settings, self, begun).rewards(items)

    async def info(self, settings: Settings, begun: float) -> dict[str, Any]:
        deadline = begun + settings.timeout
        return await Delivery(settings, self, deadline, "/info", lambda r: dict(r.json())).answer()

    async def ready(self, settings: Settings, deadline: float) -> None:
        """
        Raises:
            NotReady: one of the URLs is not, until the deadline.
        """
        waiting = dict.fromkeys(settings.urls, "not asked yet")
        try:
            async with asyncio.timeout_at(deadline):
                await asyncio.gather(*(self._ready(url, settings, waiting) for url in waiting))
        except TimeoutError:
            raise errors.NotReady(", ".join(map(": ".join, waiting.items()))) from None

    async def _ready(self, url: str, settings: Settings, waiting: dict[str, str]) -> None:
        path = "/readyz"
        while True:
            try:
                answer = await self.send(url, path, headers=settings.headers(url))
                if answer.is_success:
                    del waiting[url]
                    return
                if answer.status_code == httpx.codes.UNAUTHORIZED:
                    raise refusal(answer, url, ())
                if (
                    answer.status_code == httpx.codes.NOT_FOUND
                ):  # the probes have a port of their own
                    path = "/info"
                waiting[url] = f"status {answer.status_code}"
            except httpx.RequestError as error:
                waiting[url] = type(error).__name__
            await asyncio.sleep(POLL_S)
