"""Tiny random policies with the demo checkpoint's tokenizer: what a trainer needs to roll out and to take a step."""

from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoTokenizer,
    PreTrainedModel,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
    Qwen2Config,
    Qwen2ForCausalLM,
)
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

CHECKPOINT = Path(__file__).parents[2] / "service" / "demo" / "checkpoint"
TEXT = {
    "vocab_size": 908,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 1024,
    "bos_token_id": 901,
    "pad_token_id": 901,
    "eos_token_id": 900,
}
VISION = {
    "depth": 1,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_heads": 2,
    "out_hidden_size": 32,
    "fullatt_block_indexes": [0],
    "window_size": 56,
}


def tokenizer() -> Any:
    return AutoTokenizer.from_pretrained(CHECKPOINT, padding_side="left")


class ImageOnlyProcessor(Qwen2_5_VLProcessor):
    """Qwen2.5-VL's without its video processor, which needs torchvision."""

    def __init__(self, image_processor: Any = None, tokenizer: Any = None, **kwargs: Any) -> None:
        self.image_token, self.video_token = "<|image_pad|>", "<|video_pad|>"
        self.image_token_id = tokenizer.convert_tokens_to_ids(self.image_token)
        self.video_token_id = tokenizer.convert_tokens_to_ids(self.video_token)
        super(Qwen2_5_VLProcessor, self).__init__(image_processor, tokenizer, **kwargs)


def processor() -> ImageOnlyProcessor:
    own = tokenizer()
    images = Qwen2VLImageProcessorPil(min_pixels=56 * 56, max_pixels=56 * 56)
    return ImageOnlyProcessor(images, own, chat_template=own.chat_template)


def text_policy() -> PreTrainedModel:
    torch.manual_seed(0)
    return Qwen2ForCausalLM(Qwen2Config(**TEXT))


def vision_policy() -> PreTrainedModel:
    torch.manual_seed(0)
    rope = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 3, 3]}
    config = Qwen2_5_VLConfig(
        text_config=TEXT | {"rope_parameters": rope},
        vision_config=VISION,
        image_token_id=906,
        video_token_id=907,
        vision_start_token_id=903,
        vision_end_token_id=904,
        eos_token_id=900,
        pad_token_id=901,
        bos_token_id=901,
    )
    return Qwen2_5_VLForConditionalGeneration(config)
