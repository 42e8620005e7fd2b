"""LitServe around the same stock model, batching 32 items or 10 ms; runs in LitServe's own environment."""

import argparse
import os
from pathlib import Path
from typing import Any

import litserve
import torch

from benchmarks.baselines.stock import Row, StockModel


class Reward(litserve.LitAPI):
    def __init__(self, checkpoint: Path) -> None:
        super().__init__(max_batch_size=32, batch_timeout=0.01, api_path="/score")
        self._checkpoint = checkpoint

    def setup(self, device: str) -> None:
        torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))
        self._model = StockModel(self._checkpoint, device)

    def decode_request(self, request: dict[str, Any]) -> Row:
        import base64

        (item,) = request["items"]
        image = item.get("image")
        data = None if image is None else base64.b64decode(image.partition(",")[2])
        (row,) = self._model.rows(item["prompt"], data, item["responses"])
        return row

    def batch(self, inputs: list[Row]) -> list[Row]:
        return inputs

    def predict(self, rows: list[Row] | Row) -> list[tuple[float, Row, int]]:
        rows = rows if isinstance(rows, list) else [rows]
        longest = max(len(row.ids) for row in rows)
        rewards = self._model.score(rows)
        return [(reward, row, longest) for reward, row in zip(rewards, rows, strict=True)]

    def unbatch(self, output: list[tuple[float, Row, int]]) -> list[tuple[float, Row, int]]:
        return output

    def encode_response(self, output: tuple[float, Row, int]) -> dict[str, Any]:
        reward, row, longest = output
        text_tokens = len(row.ids) - row.image_tokens
        usage = {
            "text_tokens": text_tokens,
            "image_tokens": row.image_tokens,
            "padding_tokens": longest - len(row.ids),
        }
        return {"rewards": [[reward]], "usage": usage}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    chosen = parser.parse_args()
    server = litserve.LitServer(Reward(chosen.checkpoint), accelerator="cpu", timeout=3600)
    server.run(host="127.0.0.1", port=chosen.port, generate_client_file=False, log_level="warning")


if __name__ == "__main__":
    main()
