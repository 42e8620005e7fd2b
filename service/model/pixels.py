"""RGB raster to uint8 patches, as Qwen2-VL's image processor orders them; normalised only on the device."""

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from service.core import Patches, Raster
from service.errors import InvalidRequest
from service.model.manifest import PixelRules
from service.model.processor import CLIP_MEAN, CLIP_STD, built_sizes, read_processor

MAX_RATIO = 200  # of a picture's sides: transformers refuses more, so nobody trained on them


@dataclass(frozen=True, slots=True)
class PixelShape:
    """What the vision tower was built and trained for."""

    min_pixels: int
    max_pixels: int
    patch: int = 14
    merge: int = 2
    temporal: int = 2
    mean: tuple[float, ...] = CLIP_MEAN
    std: tuple[float, ...] = CLIP_STD

    @property
    def factor(self) -> int:
        return self.patch * self.merge


def read_shape(folder: Path, rules: PixelRules, vision: dict[str, Any]) -> PixelShape:
    """Sizes from `config.json`, limits from the manifest, mean and std from the processor's files.

    Raises:
        StartError: the files disagree, or the processor does something else to pixels.
    """
    processor = read_processor(folder)
    built = built_sizes(processor, vision)
    patch, merge, temporal = built["patch_size"], built["merge_size"], built["temporal_patch_size"]
    return PixelShape(rules.min, rules.max, patch, merge, temporal, processor.mean, processor.std)


def target_size(width: int, height: int, shape: PixelShape) -> tuple[int, int]:
    """(width, height) after resizing: multiples of the merged patch, area within the limits.

    Source: `smart_resize` of transformers' Qwen2-VL image processor, rounding included.

    Raises:
        InvalidRequest: one side is over 200 times the other.
    """
    if max(width, height) > MAX_RATIO * min(width, height):
        message = f"{width}x{height} px: one side is more than {MAX_RATIO} times the other; crop or pad it"
        raise InvalidRequest(message, code="image_dimensions")
    factor = shape.factor
    h, w = round(height / factor) * factor, round(width / factor) * factor
    if h * w > shape.max_pixels:
        beta = math.sqrt(height * width / shape.max_pixels)
        h = max(factor, math.floor(height / beta / factor) * factor)
        w = max(factor, math.floor(width / beta / factor) * factor)
    elif h * w < shape.min_pixels:
        beta = math.sqrt(shape.min_pixels / (height * width))
        h = math.ceil(height * beta / factor) * factor
        w = math.ceil(width * beta / factor) * factor
    return w, h


def patchify(raster: Raster, shape: PixelShape) -> Patches:
    """Bicubic resize on uint8, then patches in merge order: `data` is uint8 [patches, 3 * patch * patch].

    588 bytes a patch; the two equal frames of a still picture are laid out on the device.
    """
    image = Image.frombytes("RGB", (raster.width, raster.height), raster.rgb)
    size = target_size(raster.width, raster.height, shape)
    if size != image.size:
        image = image.resize(size, Image.Resampling.BICUBIC)
    grid_w, grid_h = size[0] // shape.patch, size[1] // shape.patch
    m, p = shape.merge, shape.patch
    pixels = np.asarray(image)  # [height, width, 3]
    blocks = pixels.reshape(grid_h // m, m, p, grid_w // m, m, p, 3)
    ordered = blocks.transpose(0, 3, 1, 4, 6, 2, 5)  # [gh/m, gw/m, m, m, 3, p, p]
    data = np.ascontiguousarray(ordered).reshape(grid_h * grid_w, 3 * p * p)
    digest = hashlib.sha256(b"%d %d " % (grid_h, grid_w) + data.tobytes()).digest()
    return Patches(grid_h, grid_w, grid_h * grid_w // m**2, data, data.nbytes, digest)


def normalise(pixels: Tensor, shape: PixelShape, dtype: torch.dtype = torch.float32) -> Tensor:
    """uint8 patches [patches, 3 * patch²] to the values the vision tower was trained on; same shape."""
    mean = torch.tensor(shape.mean, device=pixels.device).view(1, 3, 1)
    std = torch.tensor(shape.std, device=pixels.device).view(1, 3, 1)
    values = (pixels.float().view(len(pixels), 3, -1) / 255 - mean) / std
    return values.view(len(pixels), -1).to(dtype)
