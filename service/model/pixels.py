"""RGB raster to uint8 patches, as Qwen2-VL's image processor orders them; normalised only on the device."""

import hashlib
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from service.core import Patches, Raster
from service.errors import InvalidRequest, StartError
from service.model.manifest import PixelRules

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
FILE_NAME = "preprocessor_config.json"


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
    """Sizes from `config.json`, mean and std from `preprocessor_config.json` (CLIP's if it has none).

    Raises:
        StartError: the two files disagree, or the processor does something else to pixels.
    """
    path = folder / FILE_NAME
    stated = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    sizes = {"patch_size": 14, "merge_size": 2, "temporal_patch_size": 2}
    built = sizes | {
        k: vision[v]
        for k, v in {
            "patch_size": "patch_size",
            "merge_size": "spatial_merge_size",
            "temporal_patch_size": "temporal_patch_size",
        }.items()
        if v in vision
    }
    for key, value in built.items():
        if stated.get(key, value) != value:
            raise StartError(f"{FILE_NAME}: {key} is {stated[key]}, config.json builds {value}")
    for key in ("do_resize", "do_rescale", "do_normalize", "do_convert_rgb"):
        if stated.get(key, True) is not True:
            raise StartError(f"{FILE_NAME}: {key} = false is not served")
    mean, std = stated.get("image_mean") or CLIP_MEAN, stated.get("image_std") or CLIP_STD
    patch, merge, temporal = built["patch_size"], built["merge_size"], built["temporal_patch_size"]
    return PixelShape(rules.min, rules.max, patch, merge, temporal, tuple(mean), tuple(std))


def target_size(width: int, height: int, shape: PixelShape) -> tuple[int, int]:
    """(width, height) after resizing: multiples of the merged patch, area within the limits.

    Source: `smart_resize` of transformers' Qwen2-VL image processor, rounding included.
    """
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
    if h == 0 or w == 0:
        raise InvalidRequest(f"{width}x{height} px is too thin", code="image_dimensions")
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
