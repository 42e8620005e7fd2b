"""Model: Qwen2.5-VL in miniature with the two-layer reward head, and its checkpoint folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLModel, Qwen2Tokenizer

from training.pictures import FRAMES, MERGE, PATCH, save_preprocessor
from training.tokenizer import save_tokenizer

HIDDEN, LAYERS, HEADS, KEY_HEADS = 128, 3, 4, 2
ROPE_THETA = 1e4
INITIAL_STD, EMBEDDING_STD, OUTPUT_STD = 0.04, 0.4, 0.015
SECTIONS = [4, 6, 6]
VISION_HIDDEN, VISION_LAYERS, VISION_HEADS = 64, 3, 4


def text_sizes(tokenizer: Qwen2Tokenizer) -> dict[str, Any]:
    """Say how small the text side is."""
    return {
        "vocab_size": len(tokenizer),
        "hidden_size": HIDDEN,
        "intermediate_size": 2 * HIDDEN,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KEY_HEADS,
        "max_position_embeddings": 2048,
        "initializer_range": INITIAL_STD,
        "use_sliding_window": False,
        # The three sections share half a head's width: time, row, column.
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": ROPE_THETA,
            "mrope_section": SECTIONS,
        },
        "bos_token_id": tokenizer.convert_tokens_to_ids("<|endoftext|>"),
        "eos_token_id": tokenizer.convert_tokens_to_ids("<|im_end|>"),
        "pad_token_id": tokenizer.convert_tokens_to_ids("<|endoftext|>"),
    }


def vision_sizes() -> dict[str, Any]:
    """Say how small the vision side is."""
    return {
        "depth": VISION_LAYERS,
        "hidden_size": VISION_HIDDEN,
        "intermediate_size": 3 * VISION_HIDDEN,
        "num_heads": VISION_HEADS,
        "out_hidden_size": HIDDEN,
        "patch_size": PATCH,
        "spatial_merge_size": MERGE,
        "temporal_patch_size": FRAMES,
        # 56 px windows split a 112 px picture in four; the middle layer sees all of it.
        "window_size": 56,
        "fullatt_block_indexes": [1],
        "initializer_range": INITIAL_STD,
    }


def tiny_config(tokenizer: Qwen2Tokenizer) -> Qwen2_5_VLConfig:
    """Shrink Qwen2.5-VL: every mechanism stays (grouped heads, mrope, windows), sizes go down."""
    return Qwen2_5_VLConfig(
        text_config=text_sizes(tokenizer),
        vision_config=vision_sizes(),
        image_token_id=tokenizer.convert_tokens_to_ids("<|image_pad|>"),
        video_token_id=tokenizer.convert_tokens_to_ids("<|video_pad|>"),
        vision_start_token_id=tokenizer.convert_tokens_to_ids("<|vision_start|>"),
        vision_end_token_id=tokenizer.convert_tokens_to_ids("<|vision_end|>"),
        tie_word_embeddings=False,
    )


class RewardModel(nn.Module):
    """The backbone and the head, under the names the checkpoint uses."""

    def __init__(self, config: Qwen2_5_VLConfig) -> None:
        super().__init__()
        self.model = Qwen2_5_VLModel(config)
        width = config.text_config.hidden_size
        self.score = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 1))

    def prepare(self) -> None:
        """Balance the start: long embeddings, short layer outputs.

        With the usual 0.02-0.04 everywhere the first layer's average over forty tokens is five
        times as long as a token's own embedding, and what the token says is drowned.
        """
        text = self.model.language_model
        nn.init.normal_(text.embed_tokens.weight, std=EMBEDDING_STD)
        for layer in text.layers:
            for last in (layer.self_attn.o_proj, layer.mlp.down_proj):
                nn.init.normal_(last.weight, std=OUTPUT_STD)


def save_checkpoint(model: RewardModel, tokenizer: Qwen2Tokenizer, folder: Path) -> None:
    """Write weights in bf16, configuration, tokenizer and picture settings."""
    folder.mkdir(parents=True, exist_ok=True)
    config = model.model.config
    config.architectures = ["Qwen2_5_VLForRewardModeling"]
    config.dtype = torch.bfloat16
    config.save_pretrained(folder)
    weights = {
        name: value.detach().to(torch.bfloat16).contiguous()
        for name, value in model.state_dict().items()
    }
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    save_tokenizer(tokenizer, folder)
    save_preprocessor(folder)
