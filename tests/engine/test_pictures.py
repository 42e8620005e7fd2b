"""Pictures: each content decoded once a tenant, shared while it is decoded and kept within bytes."""

import asyncio
import threading
from contextlib import contextmanager
from dataclasses import replace

import pytest

from service.core import Patches, Picture
from service.engine.fair_pool import FairPool, Flow
from service.engine.pictures import ENTRY_BYTES, Lease, PictureCache, Pictures, PreparedPicture
from service.errors import Busy, ServiceError
from service.inputs.fetch import Fetcher, FetchRules
from service.metrics import Metrics
from tests.inputs.pictures import data_uri, png
from tests.models import WAIT_S, StandIn

pytestmark = pytest.mark.anyio
SIZE = 1000  # bytes of every prepared picture
A, B = Flow("a", 1), Flow("b", 1)


class Slow(StandIn):
    """Its pictures take until they are let go."""

    def __init__(self):
        super().__init__()
        self.started = threading.Semaphore(0)
        self.go = threading.Event()

    def patchify(self, raster):
        self.started.release()
        assert self.go.wait(WAIT_S)
        return replace(super().patchify(raster), num_bytes=SIZE)


@contextmanager
def decoding(cache_bytes=10**6, model=None, threads=2):
    pool = FairPool(threads, "prepare")
    model = model or Slow()
    pictures = Pictures(Fetcher(FetchRules()), pool, 10**6, PictureCache(cache_bytes), Metrics())
    try:
        yield pictures, model
    finally:
        model.go.set()
        pictures.close()
        pool.close()


def picture(width=30):
    return Picture(data_uri(png(width, 30)), "image")


async def started(model):
    assert await asyncio.to_thread(model.started.acquire, True, WAIT_S)


async def test_equal_pictures_at_once_are_decoded_once():
    """By content: one comes as a data URI, one as bare base64."""
    with decoding() as (pictures, model):
        bare = Picture(picture().source.partition(",")[2], "image")
        work = [pictures.prepare(model, p, A) for p in (picture(), bare, picture())]
        tasks = [asyncio.ensure_future(w) for w in work]
        await started(model)
        model.go.set()
        found = await asyncio.gather(*tasks)
    assert len({id(prepared) for _, prepared in found}) == 1
    assert len(model.rasters) == 1


async def test_a_kept_picture_is_not_decoded_again():
    with decoding() as (pictures, model):
        model.go.set()
        for _ in range(3):
            await pictures.prepare(model, picture(), A)
        assert pictures._cache.num_bytes == SIZE + ENTRY_BYTES
    assert len(model.rasters) == 1


async def test_with_no_bytes_nothing_is_kept():
    with decoding(cache_bytes=0) as (pictures, model):
        model.go.set()
        for _ in range(3):
            await pictures.prepare(model, picture(), A)
        assert pictures._cache.num_bytes == 0
    assert len(model.rasters) == 3


async def test_another_tenants_picture_is_decoded_for_itself():
    """Else the time an answer takes would tell what others have sent."""
    with decoding() as (pictures, model):
        model.go.set()
        await asyncio.gather(*(pictures.prepare(model, picture(), t) for t in (A, B, A)))
    assert len(model.rasters) == 2


async def test_the_picture_longest_unused_goes_first():
    with decoding(cache_bytes=2 * (SIZE + ENTRY_BYTES)) as (pictures, model):
        model.go.set()
        for width in (30, 31, 30, 32, 30, 31):
            await pictures.prepare(model, picture(width), A)
    assert [raster.width for raster in model.rasters] == [30, 31, 32, 31]


async def test_who_goes_leaves_the_picture_to_the_others():
    with decoding() as (pictures, model):
        first = asyncio.ensure_future(pictures.prepare(model, picture(), A))
        await started(model)
        second = asyncio.ensure_future(pictures.prepare(model, picture(), A))
        while (shared := next(iter(pictures._decoding.values()))).waiters < 2:  # noqa: ASYNC110 - sets no event
            await asyncio.sleep(0)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        assert shared.waiters == 1
        model.go.set()
        _, prepared = await second
    assert isinstance(prepared, PreparedPicture)
    assert len(model.rasters) == 1


async def test_when_all_have_gone_nothing_is_left_to_decode():
    with decoding(threads=1) as (pictures, model):
        running = asyncio.ensure_future(pictures.prepare(model, picture(30), A))
        await started(model)
        # Read beforehand: the one thread is taken.
        waiting = asyncio.ensure_future(
            pictures._once(
                ("a", "", b"31"),
                lambda: pictures._pool.submit(A, lambda: pytest.fail("decoded for nobody")),
            )
        )
        while len(pictures._decoding) < 2:  # noqa: ASYNC110 - sets no event
            await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert len(pictures._decoding) == 1
        model.go.set()
        await running


async def test_an_error_is_the_same_for_all_and_not_kept():
    with decoding() as (pictures, model):
        model.go.set()
        broken = Picture(data_uri(png(30, 30)[:60]), "image")
        for _ in range(2):
            both = await asyncio.gather(*(pictures.prepare(model, broken, A) for _ in range(2)))
            assert [isinstance(e, ServiceError) and e.code for e in both] == ["image_decode"] * 2
        assert pictures._cache.num_bytes == 0
        assert pictures._decoding == {}


async def test_hits_and_misses_are_counted():
    with decoding() as (pictures, model):
        model.go.set()
        for width in (30, 30, 31, 30):
            await pictures.prepare(model, picture(width), A)
        text = pictures._metrics.render().decode()
    assert "basereward_picture_cache_hits_total 2.0" in text
    assert "basereward_picture_cache_misses_total 2.0" in text


def test_what_several_requests_use_is_held_once():
    held, users = [], {}
    first, second = Lease(users, held.append), Lease(users, held.append)
    key, other = ("a", "", b"0"), ("a", "", b"1")
    first.use(key, 10)
    first.use(key, 10)
    second.use(key, 10)
    second.use(other, 5)
    first.close()
    assert held == [10, 5]
    second.close()
    assert sorted(held) == [-10, -5, 5, 10]
    assert users == {}


def test_a_lease_that_cannot_be_held_holds_nothing():
    def full(_):
        raise Busy("full", code="overloaded")

    users = {}
    lease = Lease(users, full)
    with pytest.raises(Busy):
        lease.use(("a", "", b"0"), 10)
    lease.close()
    assert users == {}


def test_a_closed_lease_takes_nothing():
    held = []
    lease = Lease({}, held.append)
    lease.close()
    lease.use(("a", "", b"0"), 10)
    assert held == []


def test_a_picture_larger_than_the_cache_is_not_kept():
    cache = PictureCache(SIZE)
    cache.put(("a", "", b"0"), PreparedPicture(Patches(2, 2, 1, None, SIZE)))
    assert cache.num_bytes == 0
