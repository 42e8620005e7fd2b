"""A request's items to examples, handed on as they become ready: text does not wait for pictures."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

from service.core import Example, Item, Picture, RewardModel, Warned
from service.cores import usable_cores
from service.engine.fair_pool import FairPool, Flow
from service.engine.pictures import Key, Lease, PictureCache, Pictures, PreparedPicture
from service.engine.plan import Bucket, Part, Place, Plan, pictures_of, plan_of
from service.engine.tokenising import Tokeniser
from service.engine.turns import Turns
from service.errors import BadItem, Failure, ServiceError
from service.inputs.fetch import Fetcher
from service.inputs.images import ANIMATED, ENLARGED
from service.metrics import Metrics

T = TypeVar("T")
log = logging.getLogger(__name__)
Prepared = Example | ServiceError
Ready = Callable[[list[tuple[Place, Prepared]]], None]
PreparedPictures = Mapping[Picture, PreparedPicture | ServiceError]

FEW_ITEMS = 32  # without a picture: planned at once, on the event loop
_NOTES = {
    ANIMATED: "moves; its first frame is scored",
    ENLARGED: "has a side below 28 px; it is enlarged, as transformers does",
}
TASKS_AT_ONCE = 128  # are started in one turn of the event loop


@dataclass(frozen=True, slots=True)
class PreparationLimits:
    threads: int  # of one tenant, 0: one a core
    max_images: int  # of one request
    max_image_pixels: int
    cache_bytes: int
    max_decoding_bytes: int = 512 * 2**20


class Preparer:
    def __init__(self, fetcher: Fetcher, limits: PreparationLimits, metrics: Metrics) -> None:
        threads = limits.threads or usable_cores()
        self._limits = limits
        self._pool = FairPool(threads, "prepare", limits.max_decoding_bytes)
        self.turns = Turns()  # of everything that happens on the event loop
        self.tokeniser = Tokeniser(self.turns, threads)
        self.cache = PictureCache(limits.cache_bytes)
        self.pictures = Pictures(fetcher, self._pool, limits.max_image_pixels, self.cache, metrics)
        self._users: dict[Key, int] = {}

    def close(self) -> None:
        self._pool.close()
        self.pictures.close()
        self.tokeniser.close()

    def lease(self, hold: Callable[[int], None]) -> Lease:
        return Lease(self._users, hold)

    async def beside(self, flow: Flow, work: Callable[[], T]) -> T:
        """Do it on a thread of the pool, in the tenant's turn: what is too much for the event loop."""
        return await asyncio.wrap_future(self._pool.submit(flow, work))

    async def plan(self, items: Sequence[Item | BadItem], flow: Flow) -> Plan:
        """
        Raises:
            InvalidRequest: too_many_images.
        """
        if len(items) <= FEW_ITEMS and not any(map(_has_picture, items)):
            return plan_of(items, self._limits.max_images)
        return await self.beside(flow, partial(plan_of, items, self._limits.max_images))

    async def prepare(
        self, model: RewardModel, plan: Plan, flow: Flow, lease: Lease, ready: Ready
    ) -> None:
        """An example or an error for every part, through `ready`, some at a time.

        Args:
            model: that the items are prepared for.
            plan: of the items.
            flow: whose pictures and texts these are.
            lease: counts the bytes of the pictures.
            ready: called on the event loop with places in the request; never after this ends.

        Raises:
            Busy: from the lease.
        """
        ready([(place, bad.error) for place, bad in plan.bad])
        one = _Preparation(model, self, flow, lease, ready)
        await one.run(plan)


class _Preparation:
    """One request's."""

    def __init__(
        self,
        model: RewardModel,
        house: Preparer,
        flow: Flow,
        lease: Lease,
        ready: Ready,
    ) -> None:
        self._model = model
        self._house = house
        self._flow = flow
        self._lease = lease
        self._ready = ready
        self._tasks: list[asyncio.Task[Any]] = []
        self._found: dict[Picture, asyncio.Task[PreparedPicture | ServiceError]] = {}

    async def run(self, plan: Plan) -> None:
        if not plan.pictures and len(plan.buckets) == 1:  # most requests: no task of its own
            await self._bucket(plan.buckets[0])
            return
        try:
            # Text first: it is ready while pictures are still being decoded.
            for bucket in sorted(plan.buckets, key=lambda b: len(b.pictures)):
                for picture in bucket.pictures:
                    if picture not in self._found:
                        self._found[picture] = await self._start(self._picture(picture))
                await self._start(self._bucket(bucket))
            await asyncio.gather(*self._tasks)
        finally:
            for task in self._tasks:
                task.cancel()
            # A cancelled task holds the frames that it ended in, and these hold `self`.
            self._tasks.clear()
            self._found.clear()

    async def _start(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.ensure_future(work)
        self._tasks.append(task)
        if len(self._tasks) % TASKS_AT_ONCE == 0:
            await asyncio.sleep(0)
        return task

    async def _picture(self, picture: Picture) -> PreparedPicture | ServiceError:
        found = await self._house.pictures.prepare(self._model, picture, self._flow)
        if isinstance(found, ServiceError):
            return found
        key, prepared = found
        self._lease.use(key, prepared.patches.num_bytes)
        return prepared

    async def _bucket(self, bucket: Bucket) -> None:
        found = {picture: await self._found[picture] for picture in bucket.pictures}
        good, bad = _told_apart(bucket.parts, found)
        if bad:
            self._ready(bad)
        if good:
            patches = {p: x.patches for p, x in found.items() if isinstance(x, PreparedPicture)}
            items = [part.item for part in good]
            encoded = await self._house.tokeniser.encode(self._model, items, patches, self._flow)
            pairs = zip(good, encoded, strict=True)
            self._ready([(part.place, _finish(e, part, found)) for part, e in pairs])


def _has_picture(item: Item | BadItem) -> bool:
    return isinstance(item, Item) and next(pictures_of(item), None) is not None


def _told_apart(
    parts: Sequence[Part], found: PreparedPictures
) -> tuple[list[Part], list[tuple[Place, Prepared]]]:
    """Parts whose pictures are all good, and the others' errors."""
    good: list[Part] = []
    bad: list[tuple[Place, Prepared]] = []
    for part in parts:
        error = _picture_error(part, found)
        if error is None:
            good.append(part)
        else:
            bad.append((part.place, error))
    return good, bad


def _picture_error(part: Part, found: PreparedPictures) -> ServiceError | None:
    """The error of its first bad picture, under the name this item gives it."""
    for picture in pictures_of(part.item):
        error = found[picture]
        if isinstance(error, ServiceError):
            return _blamed(error, part, picture.param)
    return None


def _finish(encoded: Example | Exception, part: Part, found: PreparedPictures) -> Prepared:
    if isinstance(encoded, Exception):
        return _blamed(encoded, part)
    notes = [
        Warned(code, f"{picture.param} {_NOTES[code]}")
        for picture in pictures_of(part.item)
        for code in getattr(found[picture], "warnings", ())
    ]
    refused = {r: _blamed(error, part) for r, error in encoded.refused.items()}
    if not notes and not refused:
        return encoded
    return replace(encoded, warnings=(*notes, *encoded.warnings), refused=refused)


def _blamed(error: Exception, part: Part, param: str | None = None) -> ServiceError:
    """The refusal under the name the request has for what is at fault."""
    if not isinstance(error, ServiceError):
        log.error("the model failed on an item", exc_info=error)
        error = Failure("the model failed on this item", code="model_failure")
    param, response = param or error.param or part.item.param, error.response
    if response is not None:
        response += part.first
        if len(part.item.responses) > 1 or not part.whole:
            param = f"{param}.responses[{response}]"
    return ServiceError(error.message, code=error.code, param=param, response=response)
