"""Random pictures with the spectrum of photographs, as JPEG bytes; each seed is another picture."""

import io
import math

import numpy as np
from PIL import Image

MERGED_PATCH_PIXELS = 28  # the side of the square that becomes one visual token
_QUALITY = 90


def side_pixels(image_tokens: int) -> int:
    """Side of the square picture of that many visual tokens.

    Raises:
        ValueError: the number of tokens is no square.
    """
    side = math.isqrt(image_tokens)
    if side * side != image_tokens:
        raise ValueError(f"{image_tokens} visual tokens are no square picture")
    return side * MERGED_PATCH_PIXELS


def picture(image_tokens: int, seed: int) -> bytes:
    """Noise of four octaves, coarse ones strongest, as a JPEG that needs no resizing."""
    side = side_pixels(image_tokens)
    random = np.random.default_rng(seed)
    total = np.zeros((side, side, 3), np.float32)
    for cells, strength in ((4, 70.0), (16, 35.0), (64, 18.0), (side // 2, 8.0)):
        total += strength * _noise(random, cells, side)
    image = Image.fromarray(np.clip(total + 128, 0, 255).astype(np.uint8))
    out = io.BytesIO()
    image.save(out, "JPEG", quality=_QUALITY)
    return out.getvalue()


def _noise(random: np.random.Generator, cells: int, side: int) -> np.ndarray:
    """White noise on a grid of cells, smoothly enlarged to [side, side, 3]."""
    channels = random.standard_normal((3, cells, cells)).astype(np.float32)
    size, smooth = (side, side), Image.Resampling.BICUBIC
    return np.stack([np.asarray(Image.fromarray(c).resize(size, smooth)) for c in channels], -1)
