"""The tokeniser: what waits goes together, in bounded batches, and each caller gets its own."""

import asyncio
import threading

import pytest

from service.core import Item, Turn
from service.engine import Turns
from service.engine.fair_pool import Flow
from service.engine.tokenising import CHARS_AT_ONCE, RESPONSES_AT_ONCE, Tokeniser
from service.errors import Failure
from tests.models import WAIT_S, StandIn

pytestmark = pytest.mark.anyio
A = Flow("a", 1)


class Gated(StandIn):
    def __init__(self):
        super().__init__()
        self.batches = []
        self.entered_encode = threading.Event()
        self.go = threading.Event()

    def encode(self, items, pictures):
        self.batches.append([item.responses[0] for item in items])
        self.entered_encode.set()
        assert self.go.wait(WAIT_S)
        return super().encode(items, pictures)


def item(response, copies=1):
    return Item((Turn("user", ("p",)),), (response,) * copies)


@pytest.fixture
def tokeniser():
    one = Tokeniser(Turns(), 1)
    yield one
    one.close()


async def behind_one(tokeniser, model, items):
    """Encoded one by one, while the thread is busy with another."""
    first = tokeniser.encode(model, [item("first")], {}, A)
    assert await asyncio.to_thread(model.entered_encode.wait, WAIT_S)
    futures = [tokeniser.encode(model, [one], {}, A) for one in items]
    return first, futures


async def test_what_waits_goes_together(tokeniser):
    model = Gated()
    names = [str(i) for i in range(100)]
    first, futures = await behind_one(tokeniser, model, map(item, names))
    model.go.set()
    await first
    for name, (example,) in zip(names, await asyncio.gather(*futures), strict=True):
        assert example.data[1] == (name,)
    assert model.batches == [["first"], names]


async def test_a_batch_is_bounded(tokeniser):
    model = Gated()
    _, futures = await behind_one(
        tokeniser, model, [item(str(i), RESPONSES_AT_ONCE // 2) for i in range(5)]
    )
    model.go.set()
    await asyncio.gather(*futures)
    assert list(map(len, model.batches)) == [1, 2, 2, 1]


async def test_a_batch_is_bounded_by_its_characters_too(tokeniser):
    model = Gated()
    long = [item("x" * (CHARS_AT_ONCE // 2 - 10)) for _ in range(4)]
    _, futures = await behind_one(tokeniser, model, [*long, item("short")])
    model.go.set()
    await asyncio.gather(*futures)
    assert list(map(len, model.batches)) == [1, 2, 3]


async def test_requests_of_a_tenant_take_turns(tokeniser):
    model = Gated()
    first = tokeniser.encode(model, [item("first")], {}, A)
    assert await asyncio.to_thread(model.entered_encode.wait, WAIT_S)
    large = [
        tokeniser.encode(model, [item(f"large {i}", RESPONSES_AT_ONCE)], {}, Flow("a", 2))
        for i in range(4)
    ]
    small = tokeniser.encode(model, [item("small")], {}, Flow("a", 3))
    model.go.set()
    await asyncio.gather(first, *large, small)
    order = [name for batch in model.batches for name in batch]
    assert order.index("small") <= 2


async def test_another_tenant_has_a_thread_of_its_own_whatever_the_first_one_asks(tokeniser):
    """One tokeniser thread for all: 111 s of waiting behind one request that cut its prompt for each response."""
    busy, free = Gated(), Gated()
    free.go.set()
    stuck = [tokeniser.encode(busy, [item(str(i))], {}, Flow("a", i)) for i in range(3)]
    assert await asyncio.to_thread(busy.entered_encode.wait, WAIT_S)
    async with asyncio.timeout(WAIT_S):
        await tokeniser.encode(free, [item("b")], {}, Flow("b", 1))
    assert not any(future.done() for future in stuck)
    busy.go.set()
    await asyncio.gather(*stuck)


async def test_the_cancelled_are_not_encoded(tokeniser):
    model = Gated()
    _, futures = await behind_one(tokeniser, model, [item("a"), item("b"), item("c")])
    futures[1].cancel()
    model.go.set()
    await asyncio.gather(futures[0], futures[2])
    assert model.batches == [["first"], ["a", "c"]]


async def test_one_that_cannot_be_encoded_fails_alone(tokeniser, caplog):
    class Raising(Gated):
        def encode(self, items, pictures):
            encoded = super().encode(items, pictures)
            if any("bad" in one.responses for one in items):
                raise RuntimeError("secret")
            return encoded

    model = Raising()
    _, futures = await behind_one(tokeniser, model, [item("a"), item("bad"), item("c")])
    model.go.set()
    (a,), (bad,), (c,) = await asyncio.gather(*futures)
    assert (a.data[1], c.data[1]) == (("a",), ("c",))
    assert isinstance(bad, Failure)
    assert "secret" not in bad.message
    assert [r.levelname for r in caplog.records if r.exc_info] == ["WARNING", "ERROR"]
