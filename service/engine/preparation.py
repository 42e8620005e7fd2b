"""Items to examples on a pool of threads: each distinct picture decoded once, texts tokenised in batches."""

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

from service.core import Example, Item, Patches, Picture, RewardModel, Warned
from service.errors import BadItem, Failure, InvalidRequest, ServiceError
from service.inputs.fetch import Fetcher
from service.inputs.images import ANIMATED, ImageLimits, decode_image
from service.inputs.sources import is_fetched, picture_bytes

T = TypeVar("T")
log = logging.getLogger(__name__)
Prepared = Example | ServiceError

Hold = Callable[[int], None]

FETCHES = 32  # URLs read at once
RESPONSES_A_TASK = 256  # how much of a request one pool task tokenises


@dataclass(frozen=True, slots=True)
class PreparedPicture:
    patches: Patches
    moving: bool


PreparedPictures = Mapping[Picture, PreparedPicture | ServiceError]


class Preparer:
    def __init__(self, fetcher: Fetcher, threads: int, max_images: int, max_pixels: int) -> None:
        self._fetcher = fetcher
        self._max_images = max_images
        self._max_pixels = max_pixels
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="prepare")
        self._fetch_pool = ThreadPoolExecutor(FETCHES, thread_name_prefix="fetch")

    def close(self) -> None:
        for pool in (self._pool, self._fetch_pool):
            pool.shutdown(wait=False, cancel_futures=True)

    def distinct_pictures(self, items: Sequence[Item | BadItem]) -> list[Picture]:
        """
        Raises:
            InvalidRequest: too_many_images.
        """
        good = (item for item in items if isinstance(item, Item))
        distinct = list(dict.fromkeys(p for item in good for p in pictures_of(item)))
        if len(distinct) > self._max_images:
            message = f"{len(distinct)} distinct pictures exceed {self._max_images} a request"
            raise InvalidRequest(message, code="too_many_images")
        return distinct

    async def prepare(
        self,
        model: RewardModel,
        items: Sequence[Item | BadItem],
        pictures: list[Picture],
        hold: Hold,
    ) -> list[Prepared]:
        """An example, or the error, for every item, in order.

        Args:
            model: that the items are prepared for.
            items: bad ones answer with their error.
            pictures: the distinct ones among them.
            hold: called with the bytes that each prepared picture takes.

        Raises:
            Busy: from `hold`.
        """
        found = await self._pictures(model, pictures, hold)
        checked = [_blame_picture(item, found) for item in items]
        chunks = list(_chunks([(i, x) for i, x in enumerate(checked) if isinstance(x, Item)]))
        encoded = await asyncio.gather(
            *(self._encode(model, [x for _, x in c], found) for c in chunks)
        )
        examples = {
            i: e
            for c, es in zip(chunks, encoded, strict=True)
            for (i, _), e in zip(c, es, strict=True)
        }
        return [x if isinstance(x, ServiceError) else examples[i] for i, x in enumerate(checked)]

    async def _pictures(
        self, model: RewardModel, pictures: list[Picture], hold: Hold
    ) -> PreparedPictures:
        done = await asyncio.gather(*(self._picture(model, p, hold) for p in pictures))
        return dict(zip(pictures, done, strict=True))

    async def _picture(
        self, model: RewardModel, picture: Picture, hold: Hold
    ) -> PreparedPicture | ServiceError:
        """Fetching waits on others, so it has threads of its own; decoding is on the pool."""
        limits = ImageLimits(self._max_pixels, model.info.apply_exif)
        try:
            if is_fetched(picture):
                data = await _in(self._fetch_pool, partial(picture_bytes, picture, self._fetcher))
                picture = Picture(data, picture.param)
            prepared = await _in(
                self._pool, partial(_prepare, model, picture, self._fetcher, limits)
            )
        except ServiceError as error:
            return error
        except Exception:
            log.exception("the model failed on a picture")
            return Failure("the model failed on the picture", code="model_failure")
        hold(prepared.patches.num_bytes)
        return prepared

    async def _encode(
        self, model: RewardModel, items: list[Item], found: PreparedPictures
    ) -> list[Prepared]:
        patches = {p: x.patches for p, x in found.items() if isinstance(x, PreparedPicture)}
        encoded = await _in(self._pool, partial(_encode_all, model, items, patches))
        return [_finish(e, item, found) for e, item in zip(encoded, items, strict=True)]


async def _in(pool: ThreadPoolExecutor, work: Callable[[], T]) -> T:
    return await asyncio.get_running_loop().run_in_executor(pool, work)


def _prepare(
    model: RewardModel, picture: Picture, fetcher: Fetcher, limits: ImageLimits
) -> PreparedPicture:
    raster = decode_image(picture_bytes(picture, fetcher), limits)
    return PreparedPicture(model.patchify(raster), ANIMATED in raster.warnings)


def pictures_of(item: Item) -> Iterator[Picture]:
    return (part for turn in item.turns for part in turn.parts if isinstance(part, Picture))


def _encode_all(
    model: RewardModel, items: list[Item], patches: Mapping[Picture, Patches]
) -> list[Example | Exception]:
    """Encode in one batch; if the model raises, one by one, so that only the item at fault fails."""
    try:
        return model.encode(items, patches)
    except Exception:
        if len(items) > 1:
            return [e for item in items for e in _encode_all(model, [item], patches)]
        log.exception("the model failed on an item")
        return [Failure("the model failed on this item", code="model_failure")]


def _blame_picture(item: Item | BadItem, found: PreparedPictures) -> Item | ServiceError:
    """The item, or the error of its first bad picture under the name this item gives it."""
    if isinstance(item, BadItem):
        return item.error
    for picture in pictures_of(item):
        error = found[picture]
        if isinstance(error, ServiceError):
            return _blamed(error, item, picture.param)
    return item


def _finish(encoded: Example | Exception, item: Item, found: PreparedPictures) -> Prepared:
    if isinstance(encoded, Exception):
        return _blamed(encoded, item)
    moving = [p for p in pictures_of(item) if getattr(found[p], "moving", False)]
    notes = [Warned(ANIMATED, f"{p.param} moves; its first frame is scored") for p in moving]
    refused = {r: _blamed(error, item) for r, error in encoded.refused.items()}
    return replace(encoded, warnings=(*notes, *encoded.warnings), refused=refused)


def _blamed(error: Exception, item: Item, param: str | None = None) -> ServiceError:
    """The refusal under the name the request has for what is at fault."""
    if not isinstance(error, ServiceError):
        log.error("the model failed on an item", exc_info=error)
        error = Failure("the model failed on this item", code="model_failure")
    param = param or error.param or item.param
    if error.response is not None and len(item.responses) > 1:
        param = f"{param}.responses[{error.response}]"
    return ServiceError(error.message, code=error.code, param=param, response=error.response)


def _chunks(items: list[tuple[int, Item]]) -> Iterator[list[tuple[int, Item]]]:
    chunk: list[tuple[int, Item]] = []
    size = 0
    for entry in items:
        chunk.append(entry)
        size += len(entry[1].responses)
        if size >= RESPONSES_A_TASK:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk
