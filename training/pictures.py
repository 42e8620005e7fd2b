"""Pictures: what stands between a PIL picture and the patches the vision tower reads."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from transformers.models.qwen2_vl import Qwen2VLImageProcessorPil
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize

PATCH, MERGE, FRAMES = 14, 2, 2
UNIT = PATCH * MERGE
# A square becomes 112 x 112, whatever its size. The two bounds leave some room around 112 * 112
# because the resize rounds side lengths: with equal bounds a float error of 1e-15 shrinks some
# squares to 84 x 84.
MIN_PIXELS, MAX_PIXELS = 12000, 12800
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)


def image_processor() -> Qwen2VLImageProcessorPil:
    """Build the stock Qwen2-VL picture processor with this model's pixel bounds."""
    size = {"shortest_edge": MIN_PIXELS, "longest_edge": MAX_PIXELS}
    return Qwen2VLImageProcessorPil(size=size, image_mean=list(MEAN), image_std=list(STD))


def save_preprocessor(folder: Path) -> None:
    """Write preprocessor_config.json in the form of the published Qwen2.5-VL checkpoints."""
    config = {
        "image_processor_type": "Qwen2VLImageProcessor",
        "min_pixels": MIN_PIXELS,
        "max_pixels": MAX_PIXELS,
        "patch_size": PATCH,
        "temporal_patch_size": FRAMES,
        "merge_size": MERGE,
        "image_mean": list(MEAN),
        "image_std": list(STD),
    }
    text = json.dumps(config, indent=2) + "\n"
    (folder / "preprocessor_config.json").write_text(text, encoding="utf-8")


def grid_of(size: tuple[int, int]) -> tuple[int, int]:
    """Say how many patch rows and columns a picture of (width, height) becomes."""
    height, width = smart_resize(size[1], size[0], UNIT, MIN_PIXELS, MAX_PIXELS)
    return height // PATCH, width // PATCH


def patches(pictures: list[Image.Image]) -> torch.Tensor:
    """Cut equally large pictures into normalised patches [pictures, rows * columns, 1176].

    The same numbers as the stock processor gives, several times faster, since training spends
    a fifth of its time here otherwise.
    """
    rows, columns = grid_of(pictures[0].size)
    size = (columns * PATCH, rows * PATCH)
    resized = [np.asarray(p.resize(size, Image.Resampling.BICUBIC)) for p in pictures]
    levels = torch.from_numpy(np.stack(resized)).float()  # [pictures, height, width, 3]
    levels = (levels / 255 - torch.tensor(MEAN)) / torch.tensor(STD)
    cut = levels.view(len(pictures), rows // MERGE, MERGE, PATCH, columns // MERGE, MERGE, PATCH, 3)
    # Patches of one merged cell follow one another: [pictures, row, column, in-row, in-column].
    cut = cut.permute(0, 1, 4, 2, 5, 7, 3, 6).reshape(len(pictures), rows * columns, 3, 1, -1)
    return cut.expand(-1, -1, -1, FRAMES, -1).reshape(len(pictures), rows * columns, -1)
