"""Stock transformers: the model, its processor and a linear head, as people run them; no server and nothing of ours."""

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from safetensors import safe_open
from torch import Tensor
from transformers import AutoTokenizer, Qwen2_5_VLModel
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
from transformers.utils import logging

_IMAGE_PAD = "<|image_pad|>"
_MERGED = 4  # patches of one visual token


@dataclass(frozen=True, slots=True)
class Row:
    """One conversation, ready for the model."""

    ids: Tensor  # [tokens]
    pixels: Tensor | None  # [patches, 1176]
    grid: Tensor | None  # [1, 3]
    image_tokens: int = 0


class StockModel:
    """Backbone without lm_head, sdpa, inference mode; the head is applied to the last token."""

    def __init__(self, folder: Path, device: str = "cpu", dtype: torch.dtype = torch.float32):
        manifest = json.loads((folder / "reward_manifest.json").read_text("utf-8"))
        if manifest["pool"] != "last":
            raise ValueError(f"{folder} does not pool the last token")
        logging.set_verbosity_error()  # its report of what it does not load: the head is ours to load
        logging.disable_progress_bar()
        self.backbone, loaded = Qwen2_5_VLModel.from_pretrained(
            folder, dtype=dtype, attn_implementation="sdpa", output_loading_info=True
        )
        if loaded["missing_keys"]:
            raise ValueError(f"{folder} lacks weights of the backbone")
        self.backbone.to(device).eval()
        self.device = torch.device(device)
        self._head = _head(folder, manifest["head"]["prefix"]).float().to(device)  # [1, hidden]
        self._tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        pixels = manifest["pixels"]
        size = {"shortest_edge": pixels["min"], "longest_edge": pixels["max"]}
        self._processor = Qwen2VLImageProcessorPil(size=size)

    def rows(self, prompt: str, image: bytes | None, responses: Sequence[str]) -> list[Row]:
        """The conversations of one item; its picture is decoded once."""
        pixels, grid = self._pixels(image)
        count = 0 if grid is None else int(grid.prod()) // _MERGED
        return [
            Row(self._ids(prompt, response, count), pixels, grid, count) for response in responses
        ]

    @torch.inference_mode()
    def score(self, rows: Sequence[Row]) -> list[float]:
        """One forward pass over right-padded rows; every row brings its own picture to the tower."""
        ids, mask = self._padded(rows)
        kwargs: dict[str, Any] = {}
        pictured = [row for row in rows if row.pixels is not None]
        if pictured:
            kwargs["pixel_values"] = torch.cat([r.pixels for r in pictured]).to(
                self.device, self.backbone.dtype
            )
            kwargs["image_grid_thw"] = torch.cat([r.grid for r in pictured]).to(self.device)
        kinds = (ids == self.backbone.config.image_token_id).int()
        self.backbone.rope_deltas = None  # what the previous call left behind
        hidden = self.backbone(
            input_ids=ids, attention_mask=mask, mm_token_type_ids=kinds, use_cache=False, **kwargs
        ).last_hidden_state  # [rows, longest, hidden]
        last = mask.sum(1) - 1
        pooled = hidden[torch.arange(len(rows), device=self.device), last].float()
        rewards: list[float] = (pooled @ self._head[0]).tolist()
        return rewards

    def _padded(self, rows: Sequence[Row]) -> tuple[Tensor, Tensor]:
        ids = [row.ids for row in rows]
        mask = [torch.ones_like(x) for x in ids]
        pad = torch.nn.utils.rnn.pad_sequence
        padded = pad(ids, batch_first=True), pad(mask, batch_first=True)  # [rows, longest]
        return padded[0].to(self.device), padded[1].to(self.device)

    def _pixels(self, image: bytes | None) -> tuple[Tensor | None, Tensor | None]:
        if image is None:
            return None, None
        picture = Image.open(io.BytesIO(image)).convert("RGB")
        batch = self._processor(images=[picture], return_tensors="pt")
        return batch["pixel_values"], batch["image_grid_thw"]

    def _ids(self, prompt: str, response: str, image_tokens: int) -> Tensor:
        parts = [{"type": "image"}] if image_tokens else []
        messages = [
            {"role": "user", "content": [*parts, {"type": "text", "text": prompt}]},
            {"role": "assistant", "content": response},
        ]
        text = self._tokenizer.apply_chat_template(messages, tokenize=False)
        text = text.replace(_IMAGE_PAD, _IMAGE_PAD * image_tokens)
        ids: Tensor = self._tokenizer(text, return_tensors="pt", add_special_tokens=False)[
            "input_ids"
        ][0]
        return ids


def _head(folder: Path, prefix: str) -> Tensor:
    """The weight of the single linear head.

    Raises:
        ValueError: there is none.
    """
    for path in folder.glob("*.safetensors"):
        with safe_open(path, framework="pt") as file:
            name = f"{prefix}.weight"
            if name in file.keys():  # noqa: SIM118 - not a mapping
                weight: Tensor = file.get_tensor(name)
                return weight
    raise ValueError(f"{folder} has no {prefix}.weight")
