"""The texts of all requests that wait, encoded together on one thread."""

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from service.core import Example, Item, Patches, Picture, RewardModel
from service.engine.turns import Turns
from service.errors import Failure

log = logging.getLogger(__name__)

RESPONSES_AT_ONCE = 256  # bounds how long one request's texts keep another's waiting
Encodings = list[Example | Exception]


@dataclass(frozen=True, slots=True)
class Piece:
    """Some items of one request, and who gets their encodings."""

    model: RewardModel
    items: list[Item]
    patches: Mapping[Picture, Patches]
    future: asyncio.Future[Encodings]

    @property
    def responses(self) -> int:
        return sum(len(item.responses) for item in self.items)


class Tokeniser:
    """Single requests that come together would cost a task and a small batch each; so whatever waits goes at once.

    One thread is enough: the tokeniser spreads a batch over the cores by itself, and what is left is Python, which
    more threads would not make faster but take from the event loop.
    """

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="encode")
        self._waiting: deque[Piece] = deque()
        self._lock = threading.Lock()
        self._busy = False

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def encode(
        self, model: RewardModel, items: list[Item], patches: Mapping[Picture, Patches]
    ) -> asyncio.Future[Encodings]:
        """An example or what went wrong, item by item; to be called on the event loop."""
        future: asyncio.Future[Encodings] = asyncio.get_running_loop().create_future()
        with self._lock:
            self._waiting.append(Piece(model, items, patches, future))
            idle, self._busy = not self._busy, True
        if idle:
            self._pool.submit(self._work)
        return future

    def _work(self) -> None:
        while pieces := self._take():
            encoded = _encode_pieces(pieces)
            loop = pieces[0].future.get_loop()
            try:
                loop.call_soon_threadsafe(self._answer, pieces, encoded)
            except RuntimeError:  # the loop is closed: nobody waits any more
                log.debug("encoded for nobody")

    def _answer(self, pieces: list[Piece], encoded: list[Encodings]) -> None:
        for piece, encodings in zip(pieces, encoded, strict=True):
            self._turns.give(partial(_give, piece.future, encodings))

    def _take(self) -> list[Piece]:
        """What waits, up to a batch; nothing: the thread is free."""
        pieces: list[Piece] = []
        responses = 0
        with self._lock:
            while self._waiting and responses < RESPONSES_AT_ONCE:
                if pieces and self._waiting[0].model is not pieces[0].model:
                    break
                piece = self._waiting.popleft()
                if not piece.future.cancelled():
                    pieces.append(piece)
                    responses += piece.responses
            self._busy = bool(pieces)
        return pieces


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
