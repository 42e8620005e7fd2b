"""Dynamic batching as servers commonly do it: 32 rows or 10 ms, across requests, padded; no sharing, no sorting."""

import queue
import threading
import time
from concurrent.futures import Future
from typing import Any

import anyio
from fastapi import FastAPI

from benchmarks.baselines.serving import Scored, answer, forward, rows_of, run
from benchmarks.baselines.stock import Row, StockModel

MAX_ROWS = 32
WAIT_S = 0.010

Waiting = tuple[Row, "Future[Scored]"]


class Batcher:
    """The one thread that runs the model."""

    def __init__(self, model: StockModel) -> None:
        self._model = model
        self._queue: queue.SimpleQueue[Waiting] = queue.SimpleQueue()
        threading.Thread(target=self._run, daemon=True).start()

    def submit(self, row: Row) -> "Future[Scored]":
        future: Future[Scored] = Future()
        self._queue.put((row, future))
        return future

    def _run(self) -> None:
        while True:
            batch = self._take()
            try:
                results = forward(self._model, [row for row, _ in batch])
            except Exception as error:  # noqa: BLE001 - its callers are told
                for _, future in batch:
                    future.set_exception(error)
                continue
            for (_, future), scored in zip(batch, results, strict=True):
                future.set_result(scored)

    def _take(self) -> list[Waiting]:
        batch = [self._queue.get()]
        until = time.monotonic() + WAIT_S
        while len(batch) < MAX_ROWS:
            try:
                batch.append(self._queue.get(timeout=max(0.0, until - time.monotonic())))
            except queue.Empty:
                break
        return batch


def make_app(model: StockModel) -> FastAPI:
    app = FastAPI()
    batcher = Batcher(model)

    def score_item(item: dict[str, Any]) -> tuple[list[Row], list[Scored]]:
        rows = rows_of(model, item)
        futures = [batcher.submit(row) for row in rows]
        return rows, [future.result() for future in futures]

    @app.post("/score")
    async def score(body: dict[str, Any]) -> dict[str, Any]:
        anyio.to_thread.current_default_thread_limiter().total_tokens = 1024
        return answer([await anyio.to_thread.run_sync(score_item, x) for x in body["items"]])

    return app


if __name__ == "__main__":
    run(make_app)
