"""Pictures to patches beside the event loop: each content decoded once a tenant, also across requests."""

import asyncio
import hashlib
import logging
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from service.core import Patches, Picture, RewardModel
from service.engine.fair_pool import FairPool, Flow
from service.errors import Failure, ServiceError, without_frames
from service.inputs.fetch import Fetcher
from service.inputs.images import ImageLimits, decode_image, decoding_bytes
from service.inputs.sources import is_fetched, picture_bytes
from service.metrics import Metrics

T = TypeVar("T")
log = logging.getLogger(__name__)

FETCHES = 32  # URLs and paths that one tenant has read at once
ENTRY_BYTES = 1024  # what keeping a picture costs beside its patches
# Tenant, model, and the encoded bytes. The tenant is part of it, so that how fast a picture is
# answered tells nobody what others have sent.
Key = tuple[str, str, bytes]


@dataclass(frozen=True, slots=True)
class PreparedPicture:
    patches: Patches
    warnings: tuple[str, ...] = ()  # codes


@dataclass(frozen=True, slots=True)
class Encoded:
    """A picture's file."""

    data: bytes
    digest: bytes  # SHA-256
    decoding_bytes: int  # memory that decoding it takes


Decoded = asyncio.Future[PreparedPicture | ServiceError]


@dataclass(slots=True)
class Decoding:
    """One picture being decoded, and how many requests wait for it."""

    task: Decoded
    waiters: int = 0


class PictureCache:
    """The pictures used last, up to so many bytes. These are no request's: they are counted apart."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._kept: OrderedDict[Key, PreparedPicture] = OrderedDict()
        self.num_bytes = 0

    def get(self, key: Key) -> PreparedPicture | None:
        if key in self._kept:
            self._kept.move_to_end(key)
        return self._kept.get(key)

    def put(self, key: Key, prepared: PreparedPicture) -> None:
        size = _size(prepared)
        if size > self._max_bytes or key in self._kept:
            return
        self._kept[key] = prepared
        self.num_bytes += size
        while self.num_bytes > self._max_bytes:
            _, oldest = self._kept.popitem(last=False)
            self.num_bytes -= _size(oldest)


def _size(prepared: PreparedPicture) -> int:
    return prepared.patches.num_bytes + ENTRY_BYTES


class Pictures:
    """Lives on the event loop; fetching waits on others, so it has threads of its own."""

    def __init__(
        self,
        fetcher: Fetcher,
        pool: FairPool,
        max_pixels: int,
        cache: PictureCache,
        metrics: Metrics,
    ) -> None:
        self._fetcher = fetcher
        self._pool = pool
        self._fetch_pool = FairPool(FETCHES, "fetch")
        self._max_pixels = max_pixels
        self._cache = cache
        self._metrics = metrics
        self._decoding: dict[Key, Decoding] = {}

    def close(self) -> None:
        self._fetch_pool.close()

    async def prepare(
        self, model: RewardModel, picture: Picture, flow: Flow
    ) -> tuple[Key, PreparedPicture] | ServiceError:
        """The patches under the name of their content, or what is wrong with the picture."""
        pool = self._fetch_pool if is_fetched(picture) else self._pool
        read = partial(_found, partial(_read, picture, self._fetcher))
        encoded = await asyncio.wrap_future(pool.submit(flow, read))
        if isinstance(encoded, ServiceError):
            return encoded
        key = (flow.tenant, model.info.fingerprint, encoded.digest)
        limits = ImageLimits(self._max_pixels, model.info.apply_exif)
        decode = partial(_found, partial(_decode, model, encoded.data, limits))
        num_bytes = encoded.decoding_bytes
        found = await self._once(key, lambda: self._pool.submit(flow, decode, num_bytes))
        return found if isinstance(found, ServiceError) else (key, found)

    async def _once(
        self, key: Key, decode: Callable[[], "Future[PreparedPicture | ServiceError]"]
    ) -> PreparedPicture | ServiceError:
        kept = self._cache.get(key)
        self._metrics.picture_looked_up(hit=kept is not None or key in self._decoding)
        if kept is not None:
            return kept
        decoding = self._decoding.get(key)
        if decoding is None:
            task = asyncio.wrap_future(decode())
            decoding = self._decoding[key] = Decoding(task)
            task.add_done_callback(partial(self._decoded, key, decoding))
        return await self._shared(key, decoding)

    async def _shared(self, key: Key, decoding: Decoding) -> PreparedPicture | ServiceError:
        """Wait with others: whoever goes leaves the work to them, and the last to go ends it."""
        decoding.waiters += 1
        try:
            return await asyncio.shield(decoding.task)
        finally:
            decoding.waiters -= 1
            if not decoding.waiters and not decoding.task.done():
                self._forget(key, decoding)
                decoding.task.cancel()

    def _decoded(self, key: Key, decoding: Decoding, task: Decoded) -> None:
        self._forget(key, decoding)
        if not task.cancelled() and isinstance(found := task.result(), PreparedPicture):
            self._cache.put(key, found)

    def _forget(self, key: Key, decoding: Decoding) -> None:
        if self._decoding.get(key) is decoding:
            del self._decoding[key]


class Lease:
    """The prepared pictures one request uses. What several use at once is counted once."""

    def __init__(self, users: dict[Key, int], hold: Callable[[int], None]) -> None:
        """
        Args:
            users: of each picture, all requests together.
            hold: counts so many bytes more, or with a negative number less; may raise Busy.
        """
        self._users = users
        self._hold = hold
        self._sizes: dict[Key, int] = {}
        self._closed = False

    def use(self, key: Key, num_bytes: int) -> None:
        """
        Raises:
            Busy: too many bytes are held already.
        """
        if self._closed or key in self._sizes:  # a task that outlives its request holds nothing
            return
        if not self._users.get(key):
            self._hold(num_bytes)
        self._users[key] = self._users.get(key, 0) + 1
        self._sizes[key] = num_bytes

    def close(self) -> None:
        self._closed = True
        for key, num_bytes in self._sizes.items():
            self._users[key] -= 1
            if not self._users[key]:
                del self._users[key]
                self._hold(-num_bytes)


def _found(work: Callable[[], T]) -> T | ServiceError:
    """What it gives or what is wrong, as a value: raised through a future, an error would hold those who wait for it,
    and they it, until a garbage collection.
    """
    try:
        return work()
    except ServiceError as error:
        return without_frames(error)
    except Exception:
        log.exception("the model failed on a picture")
        return Failure("the model failed on the picture", code="model_failure")


def _read(picture: Picture, fetcher: Fetcher) -> Encoded:
    data = picture_bytes(picture, fetcher)
    return Encoded(data, hashlib.sha256(data).digest(), decoding_bytes(data))


def _decode(model: RewardModel, data: bytes, limits: ImageLimits) -> PreparedPicture:
    raster = decode_image(data, limits)
    return PreparedPicture(model.patchify(raster), raster.warnings)
