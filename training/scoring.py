"""Scoring: a checkpoint folder read with stock transformers, sharing no code with training."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from safetensors.torch import load_file
from torch.nn import functional
from transformers import AutoTokenizer, Qwen2_5_VLConfig, Qwen2_5_VLModel
from transformers.models.qwen2_vl import Qwen2VLImageProcessorPil
from transformers.utils import logging

BATCH = 32


@dataclass(frozen=True)
class Item:
    """One thing to score; the picture may be missing."""

    prompt: str
    response: str
    picture: Image.Image | None = None


class Scorer:
    """Scores items in float32 with the stock `Qwen2_5_VLModel` and the two-layer head."""

    def __init__(self, folder: Path) -> None:
        if not (folder / "model.safetensors").is_file():
            raise SystemExit(f"{folder}: no model.safetensors here; train first, see --help")
        logging.set_verbosity_error()
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.processor = Qwen2VLImageProcessorPil.from_pretrained(folder)
        weights = load_file(folder / "model.safetensors")
        weights = {name: value.float() for name, value in weights.items()}
        self.head = {name: weights.pop(name) for name in list(weights) if name.startswith("score.")}
        # Not `from_pretrained`: transformers 5.23 takes the keys `model.visual.*` of a bare
        # backbone for old-style text keys and leaves the tower at random with only a warning.
        self.model = Qwen2_5_VLModel(Qwen2_5_VLConfig.from_pretrained(folder)).float().eval()
        self.model.load_state_dict(
            {name.removeprefix("model."): value for name, value in weights.items()}
        )
        self.image_token = self.model.config.image_token_id
        self.end_token = self.tokenizer.convert_tokens_to_ids("<|im_end|>")

    def text(self, item: Item, cells: int) -> str:
        """Render the chat template; the picture's token is repeated once per cell."""
        content = [{"type": "text", "text": item.prompt}]
        if item.picture is not None:
            content.insert(0, {"type": "image"})
        messages = [
            {"role": "user", "content": content},
            {"role": "assistant", "content": item.response},
        ]
        text = self.tokenizer.apply_chat_template(messages, tokenize=False)
        return text.replace("<|image_pad|>", "<|image_pad|>" * cells)

    def batch(self, items: list[Item]) -> dict[str, torch.Tensor]:
        """Build the stock model's inputs for a few items, padded on the right."""
        pictures = [item.picture for item in items if item.picture is not None]
        inputs = dict(self.processor(images=pictures, return_tensors="pt")) if pictures else {}
        grids = iter(inputs.get("image_grid_thw", torch.empty(0, 3)).prod(-1).tolist())
        cells = [0 if item.picture is None else int(next(grids)) // 4 for item in items]
        texts = [self.text(item, count) for item, count in zip(items, cells, strict=True)]
        encoded = self.tokenizer(texts, padding=True, padding_side="right", return_tensors="pt")
        inputs |= {key: encoded[key] for key in ("input_ids", "attention_mask")}
        # Without these the stock model numbers the picture's tokens like text, silently.
        inputs["mm_token_type_ids"] = (inputs["input_ids"] == self.image_token).int()
        return inputs

    @torch.inference_mode()
    def score_batch(self, items: list[Item]) -> list[float]:
        """Score a few items in one forward pass."""
        inputs = self.batch(items)
        hidden = self.model(**inputs, use_cache=False).last_hidden_state  # [items, length, width]
        places = torch.arange(hidden.shape[1]).expand(hidden.shape[:2])
        last = places.where(inputs["input_ids"] == self.end_token, -1).amax(1)
        pooled = hidden[torch.arange(len(items)), last]  # [items, width]
        inner = functional.linear(pooled, self.head["score.0.weight"], self.head["score.0.bias"])
        outer = functional.silu(inner)
        reward = functional.linear(outer, self.head["score.2.weight"], self.head["score.2.bias"])
        return reward.squeeze(-1).tolist()

    def score(self, items: list[Item], batch: int = BATCH) -> list[float]:
        """Score any number of items; items of similar length share a batch."""
        order = sorted(range(len(items)), key=lambda i: len(items[i].prompt + items[i].response))
        rewards = [0.0] * len(items)
        for start in range(0, len(order), batch):
            chosen = order[start : start + batch]
            scored = self.score_batch([items[i] for i in chosen])
            for index, reward in zip(chosen, scored, strict=True):
                rewards[index] = reward
        return rewards
