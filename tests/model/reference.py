"""The slow, independent judge: stock transformers classes, one response at a time, nothing of service.model."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from safetensors import safe_open
from transformers import AutoTokenizer, Qwen2_5_VLModel, Qwen2VLModel
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

CLASSES = {"qwen2_5_vl": Qwen2_5_VLModel, "qwen2_vl": Qwen2VLModel}


@dataclass
class StockModel:
    """A checkpoint as its training stack would run it; two-layer SiLU or single linear head, float32."""

    folder: Path

    def __post_init__(self) -> None:
        config = json.loads((self.folder / "config.json").read_text())
        self.manifest = json.loads((self.folder / "reward_manifest.json").read_text())
        self.backbone, loaded = CLASSES[config["model_type"]].from_pretrained(
            self.folder, dtype=torch.float32, output_loading_info=True
        )
        assert not loaded["missing_keys"], "the reference itself would be random"
        self.backbone.eval()
        self.head = self._head_tensors()
        self.tokenizer = AutoTokenizer.from_pretrained(self.folder)
        pixels = self.manifest["pixels"]
        self.processor = Qwen2VLImageProcessorPil(
            size={"shortest_edge": pixels["min"], "longest_edge": pixels["max"]}
        )

    def _head_tensors(self) -> dict[str, torch.Tensor]:
        prefix = self.manifest["head"]["prefix"] + "."
        found = {}
        for path in self.folder.glob("*.safetensors"):
            with safe_open(path, framework="pt") as file:
                for name in file.keys():  # noqa: SIM118 - not a mapping
                    if name.startswith(prefix):
                        found[name[len(prefix) :]] = file.get_tensor(name).float()
        return found

    def messages(self, prompt: str, response: str, images: list[Image.Image]) -> list[dict]:
        parts: list[dict[str, Any]] = [{"type": "image"} for _ in images]
        return [
            {"role": "user", "content": [*parts, {"type": "text", "text": prompt}]},
            {"role": "assistant", "content": response},
        ]

    @torch.no_grad()
    def hidden(self, text: str, images: list[Image.Image]) -> tuple[torch.Tensor, torch.Tensor]:
        """Token ids [tokens] and final hidden states [tokens, hidden] of one rendered conversation."""
        kwargs: dict[str, Any] = {}
        if images:
            pixels = self.processor(images=images, return_tensors="pt")
            grid = pixels["image_grid_thw"]
            for t, h, w in grid.tolist():
                text = text.replace("<|image_pad|>", "<|PAD|>" * (t * h * w // 4), 1)
            text = text.replace("<|PAD|>", "<|image_pad|>")
            kwargs = {"pixel_values": pixels["pixel_values"], "image_grid_thw": grid}
        ids = self.tokenizer(text, return_tensors="pt", add_special_tokens=False)["input_ids"]
        kinds = (ids == self.backbone.config.image_token_id).int()
        self.backbone.rope_deltas = None
        out = self.backbone(input_ids=ids, mm_token_type_ids=kinds, **kwargs)
        return ids[0], out.last_hidden_state[0]

    def reward(self, prompt: str, response: str, images: list[Image.Image] | None = None) -> float:
        images = images or []
        text = self.tokenizer.apply_chat_template(
            self.messages(prompt, response, images), tokenize=False
        )
        ids, hidden = self.hidden(text, images)
        end = self.tokenizer.convert_tokens_to_ids("<|im_end|>")
        index = len(ids) - 1
        if self.manifest["pool"] == "last_strip_newline":
            index = int((ids == end).nonzero()[-1])
        return float(self.apply_head(hidden[index]))

    @torch.no_grad()
    def apply_head(self, pooled: torch.Tensor) -> torch.Tensor:
        head = self.head
        if len([n for n in head if n.endswith("weight")]) == 1:
            (weight,) = (v for n, v in head.items() if n.endswith("weight"))
            bias = next((v for n, v in head.items() if n.endswith("bias")), torch.zeros(1))
            return (weight @ pooled + bias)[0]
        first, last = ("dense", "out_proj") if "dense.weight" in head else ("0", "2")
        x = torch.nn.functional.silu(head[f"{first}.weight"] @ pooled + head[f"{first}.bias"])
        return (head[f"{last}.weight"] @ x + head[f"{last}.bias"])[0]
