"""Pictures made for tests: as files, and as the pixels they have to decode to."""

import base64
import io
import struct
import zlib
from typing import Any

import numpy as np
from PIL import Image

from service.core import Raster

PNG_MAGIC = b"\x89PNG\r\n\x1a\n"


def pixels(width: int = 40, height: int = 30, seed: int = 0) -> np.ndarray:
    """Noise, [height, width, 3]."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def raster(rgb: np.ndarray) -> Raster:
    height, width, _ = rgb.shape
    return Raster(width, height, np.ascontiguousarray(rgb, dtype=np.uint8).tobytes())


def encoded(array: np.ndarray, kind: str = "PNG", mode: str | None = None, **options: Any) -> bytes:
    image = Image.fromarray(array) if mode is None else Image.fromarray(array).convert(mode)
    return saved(image, kind, **options)


def saved(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def png(width: int = 40, height: int = 30, seed: int = 0) -> bytes:
    return encoded(pixels(width, height, seed))


def data_uri(data: bytes, kind: str = "png") -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def moving(kind: str) -> bytes:
    """Two frames of noise, losslessly; the first is `pixels(seed=0)`."""
    frames = [Image.fromarray(pixels(seed=seed)) for seed in (0, 1)]
    options: dict[str, Any] = {"lossless": True} if kind == "WEBP" else {}
    return saved(frames[0], kind, save_all=True, append_images=frames[1:], duration=50, **options)


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png_file(width: int, height: int, depth: int, colour: int, rows: bytes, *extra: bytes) -> bytes:
    """A PNG written by hand: colour 0 grey, 2 RGB, 4 grey + alpha, 6 RGBA; rows without filter bytes."""
    row = len(rows) // height if height and rows else 0
    plain = b"".join(b"\0" + rows[y * row : (y + 1) * row] for y in range(height)) if row else b""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    body = chunk(b"IDAT", zlib.compress(plain))
    return PNG_MAGIC + chunk(b"IHDR", header) + b"".join(extra) + body + chunk(b"IEND", b"")


def bomb(side: int = 20_000) -> bytes:
    """A grey PNG of zeros: a few kilobytes that would unpack to side x side bytes."""
    squeeze = zlib.compressobj(9)
    zeros = bytes(side + 1)
    packed = b"".join(squeeze.compress(zeros) for _ in range(side)) + squeeze.flush()
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    return PNG_MAGIC + chunk(b"IHDR", header) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")
