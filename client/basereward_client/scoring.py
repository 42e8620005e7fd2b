"""One call of `score`: its items planned beside the event loop, its chunks answered on it."""

import asyncio
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sized
from typing import Any

import httpx

from basereward_client import errors
from basereward_client.answer import believed, unanswered
from basereward_client.delivery import Delivery
from basereward_client.engine import Engine
from basereward_client.pictures import Pictures
from basereward_client.request import Chunk, Planned, chunked, planned
from basereward_client.rewards import Answer, ItemError, Rewards
from basereward_client.settings import Settings


class Scoring:
    def __init__(self, settings: Settings, engine: Engine, begun: float) -> None:
        self._settings = settings
        self._engine = engine
        self._begun = begun
        self._deadline = begun + settings.timeout
        self._nulls = settings.on_error == "none"
        self._answers: list[Answer] = []
        self._scale: tuple[str | None, str | None] | None = None

    async def rewards(self, items: Iterable[Any]) -> Rewards:
        parcels = await asyncio.to_thread(self._parcels, items)
        tasks = [asyncio.create_task(self._answer(*parcel)) for parcel in parcels]
        try:
            self._answers += await asyncio.gather(*tasks)
        finally:  # one has failed, or the caller is gone
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return Rewards(self._answers, time.monotonic() - self._begun)

    def _parcels(self, items: Iterable[Any]) -> list[tuple[Chunk, dict[str, Any]]]:
        pictures = Pictures(self._settings.jpeg_quality)
        good = list(self._planned(items, pictures))
        options = self._settings.options()
        return [(chunk, chunk.body(options)) for chunk in chunked(good, pictures.sources)]

    def _planned(self, items: Iterable[Any], pictures: Pictures) -> Iterator[Planned]:
        """Of those that can be sent; with on_error "none" the others are answered already."""
        call = os.urandom(6).hex()
        for index, item in enumerate(items):
            try:
                if time.monotonic() > self._deadline:
                    raise errors.DeadlineExceeded("the deadline has passed before this was sent")
                yield planned(index, item, pictures, call)
            except errors.RewardError as error:
                error.items = [ItemError(index, None, error.code, str(error))]
                if not self._nulls:
                    raise
                given: Any = item.get("responses") if isinstance(item, Mapping) else None
                is_group = isinstance(given, Sized) and not isinstance(given, str)
                self._answers.append(unanswered([(index, len(given) if is_group else None)], error))

    async def _answer(self, chunk: Chunk, body: Mapping[str, Any]) -> Answer:
        def believe(response: httpx.Response) -> Answer:
            answer = believed(response.content, response.headers, chunk.items, self._nulls)
            self._settings.check(answer.scale)
            return answer

        sent = "/score", believe, chunk.items[0].context, body, [i.index for i in chunk.items]
        try:
            answer = await Delivery(self._settings, self._engine, self._deadline, *sent).answer()
        except (errors.Unavailable, errors.InvalidAnswer, errors.ServerFailure) as error:
            if not self._nulls:
                raise
            return unanswered([(item.index, item.responses) for item in chunk.items], error)
        self._scale = self._scale or answer.scale
        if answer.scale != self._scale:
            raise errors.FingerprintChanged(f"in one call: {self._scale}, then {answer.scale}")
        return answer
