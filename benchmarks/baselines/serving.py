"""The part of our `POST /score` that the baseline servers speak, and how they are started; no model is run here."""

import argparse
import base64
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import uvicorn
from fastapi import FastAPI

from benchmarks.baselines.stock import Row, StockModel


@dataclass(frozen=True, slots=True)
class Scored:
    """A row's reward, and the padding that was computed beside its tokens."""

    reward: float
    padding_tokens: int


def rows_of(model: StockModel, item: dict[str, Any]) -> list[Row]:
    responses = item["responses"] if "responses" in item else [item["response"]]
    return model.rows(item["prompt"], decoded(item.get("image")), responses)


def decoded(image: str | None) -> bytes | None:
    return None if image is None else base64.b64decode(image.partition(",")[2])


def answer(items: Sequence[tuple[Sequence[Row], Sequence[Scored]]]) -> dict[str, Any]:
    rows = [row for item, _ in items for row in item]
    scored = [one for _, item in items for one in item]
    image_tokens = sum(row.image_tokens for row in rows)
    usage = {
        "items": len(items),
        "responses": len(rows),
        "text_tokens": sum(len(row.ids) for row in rows) - image_tokens,
        "image_tokens": image_tokens,
        "padding_tokens": sum(one.padding_tokens for one in scored),
    }
    return {"rewards": [[one.reward for one in item] for _, item in items], "usage": usage}


def forward(model: StockModel, rows: Sequence[Row]) -> list[Scored]:
    """One padded forward pass."""
    longest = max(len(row.ids) for row in rows)
    rewards = model.score(rows)
    return [Scored(r, longest - len(row.ids)) for r, row in zip(rewards, rows, strict=True)]


def run(make_app: Callable[[StockModel], FastAPI]) -> None:
    """Load the checkpoint and serve; `--checkpoint DIR --port PORT`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    chosen = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))
    app = make_app(StockModel(chosen.checkpoint))
    app.add_api_route("/health", lambda: {"status": "ok"})
    uvicorn.run(app, port=chosen.port, log_level="warning", backlog=8192)
