"""The texts of requests that wait, encoded in batches beside the event loop; tenants and their requests take turns."""

import asyncio
import logging
import threading
from collections import OrderedDict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial

from service.core import Example, Item, Patches, Picture, RewardModel
from service.engine.fair_pool import FairPool, Flow
from service.engine.turns import Turns
from service.errors import Failure

log = logging.getLogger(__name__)

# A batch: what bounds how long one request's texts keep another's waiting.
RESPONSES_AT_ONCE = 256
CHARS_AT_ONCE = 2**18
SECOND_THREAD_CHARS = (
    2**16
)  # of a tenant, waiting or being encoded, that make another thread worth its start
Encodings = list[Example | Exception]


@dataclass(frozen=True, slots=True)
class Piece:
    """Some items of one request, and who gets their encodings."""

    model: RewardModel
    items: list[Item]
    patches: Mapping[Picture, Patches]
    future: asyncio.Future[Encodings]
    responses: int
    chars: int


@dataclass(slots=True)
class _Waiting:
    """One tenant's pieces, by request, and how many threads have been asked for them."""

    requests: OrderedDict[Flow, deque[Piece]] = field(default_factory=OrderedDict)
    chars: int = 0  # waiting or being encoded
    threads: int = 0

    def add(self, flow: Flow, piece: Piece) -> None:
        self.requests.setdefault(flow, deque()).append(piece)
        self.chars += piece.chars

    def batch(self) -> list[Piece]:
        """A piece of each request in turn, up to a batch, of one model."""
        taken: list[Piece] = []
        responses = chars = 0
        while self.requests:
            flow, pieces = next(iter(self.requests.items()))
            piece = pieces[0]
            chars += piece.chars
            full = responses >= RESPONSES_AT_ONCE or chars > CHARS_AT_ONCE
            if taken and (full or piece.model is not taken[0].model):
                break
            pieces.popleft()
            self.requests.move_to_end(flow)
            if not pieces:
                del self.requests[flow]
            if piece.future.cancelled():
                chars -= piece.chars
                self.chars -= piece.chars
            else:
                taken.append(piece)
                responses += piece.responses
        return taken


class Tokeniser:
    """Single requests that come together would cost a task and a small batch each; so what waits of a tenant goes
    at once, on one thread while it is little, on more where there is much.
    """

    def __init__(self, turns: Turns, threads: int) -> None:
        self._turns = turns
        self._most = threads
        self._pool = FairPool(threads, "encode")
        self._tenants: dict[str, _Waiting] = {}
        self._lock = threading.Lock()

    def close(self) -> None:
        self._pool.close()

    def encode(
        self, model: RewardModel, items: list[Item], patches: Mapping[Picture, Patches], flow: Flow
    ) -> asyncio.Future[Encodings]:
        """An example or what went wrong, item by item; to be called on the event loop."""
        future: asyncio.Future[Encodings] = asyncio.get_running_loop().create_future()
        responses = sum(len(item.responses) for item in items)
        chars = sum(map(chars_of, items))
        with self._lock:
            waiting = self._tenants.setdefault(flow.tenant, _Waiting())
            waiting.add(flow, Piece(model, items, patches, future, responses, chars))
            wanted = min(self._most, 1 + waiting.chars // SECOND_THREAD_CHARS)
            more = waiting.threads < wanted
            waiting.threads += more
        if more:
            self._pool.submit(Flow(flow.tenant, "texts"), partial(self._work, flow.tenant))
        return future

    def _work(self, tenant: str) -> None:
        """One batch; where there is more, other tenants have their turn first."""
        pieces = self._take(tenant)
        if pieces:
            encoded = _encode_pieces(pieces)
            loop = pieces[0].future.get_loop()
            try:
                loop.call_soon_threadsafe(self._answer, pieces, encoded)
            except RuntimeError:  # the loop is closed: nobody waits any more
                log.debug("encoded for nobody")
        if self._goes_on(tenant, sum(piece.chars for piece in pieces)):
            self._pool.submit(Flow(tenant, "texts"), partial(self._work, tenant))

    def _answer(self, pieces: list[Piece], encoded: list[Encodings]) -> None:
        for piece, encodings in zip(pieces, encoded, strict=True):
            self._turns.give(partial(_give, piece.future, encodings))

    def _take(self, tenant: str) -> list[Piece]:
        with self._lock:
            return self._tenants[tenant].batch()

    def _goes_on(self, tenant: str, encoded_chars: int) -> bool:
        """Whether the thread is still needed once it has encoded so much."""
        with self._lock:
            waiting = self._tenants[tenant]
            waiting.chars -= encoded_chars
            if waiting.requests:
                return True
            waiting.threads -= 1
            if not waiting.threads:
                del self._tenants[tenant]
            return False


def chars_of(item: Item) -> int:
    """Characters that encoding it reads: of its context, and of its responses."""
    texts = sum(len(part) for turn in item.turns for part in turn.parts if isinstance(part, str))
    return texts + sum(map(len, item.responses)) + len(item.system or "")


def _give(future: asyncio.Future[Encodings], encodings: Encodings) -> None:
    if not future.done():  # else its request was cancelled
        future.set_result(encodings)


def _encode_pieces(pieces: list[Piece]) -> list[Encodings]:
    items = [item for piece in pieces for item in piece.items]
    patches: dict[Picture, Patches] = {}
    for p, x in (entry for piece in pieces for entry in piece.patches.items()):
        if patches.setdefault(p, x).digest != x.digest:
            # One URL, two contents: each request is scored with what it was given.
            return [found for piece in pieces for found in _encode_pieces([piece])]
    left = iter(_encode(pieces[0].model, items, patches))
    return [[next(left) for _ in piece.items] for piece in pieces]


def _encode(model: RewardModel, items: list[Item], patches: Mapping[Picture, Patches]) -> Encodings:
    """In one batch; if the model raises, one by one, so that only the item at fault fails."""
    try:
        return model.encode(items, patches)
    except Exception:
        if len(items) > 1:
            log.warning("a batch failed; its items are encoded one by one", exc_info=True)
            return [e for item in items for e in _encode(model, [item], patches)]
        log.exception("the model failed on an item")
        return [Failure("the model failed on this item", code="model_failure")]
