"""The model called in the handler, as OpenRLHF's `serve_rm` does; nothing is batched across requests."""

from typing import Any

from fastapi import FastAPI

from benchmarks.baselines.serving import answer, forward, rows_of, run
from benchmarks.baselines.stock import StockModel


def make_app(model: StockModel) -> FastAPI:
    app = FastAPI()

    @app.post("/score")
    async def score(body: dict[str, Any]) -> dict[str, Any]:
        return answer([_score(model, item) for item in body["items"]])

    return app


def _score(model: StockModel, item: dict[str, Any]) -> Any:
    """Row by row: on a CPU a padded batch of a group's mixed lengths is slower than its rows alone."""
    rows = rows_of(model, item)
    return rows, [scored for row in rows for scored in forward(model, [row])]


if __name__ == "__main__":
    run(make_app)
