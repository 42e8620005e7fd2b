"""Bytes to one upright, opaque RGB raster within limits; nothing here opens a URL or a path."""

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from service.core import Raster
from service.errors import InvalidRequest

FORMATS = ("JPEG", "PNG", "WEBP")
MIN_SIDE_PIXELS = 28  # one merged visual token
MAX_RATIO = 200  # smart_resize refuses more (Qwen2-VL image processor)
ANIMATED = "animated_image"
BYTES_PER_PIXEL = 16  # Pillow's four, those of a converted copy, and the raster's three


@dataclass(frozen=True, slots=True)
class ImageLimits:
    max_pixels: int
    apply_exif: bool = True


def decode_image(data: bytes, limits: ImageLimits) -> Raster:
    """Decode the first frame of a JPEG, PNG or WebP.

    Size and shape are judged from the header, before any pixel is decoded.

    Raises:
        InvalidRequest: image_format, image_decode, image_too_large or image_dimensions.
    """
    image = _open(data, limits)
    _check_size(*image.size, limits)
    moving = image.format in ("PNG", "WEBP") and bool(getattr(image, "is_animated", False))
    rgb = _to_rgb(_load(image, limits.apply_exif))
    return Raster(rgb.width, rgb.height, rgb.tobytes(), (ANIMATED,) if moving else ())


def decoding_bytes(data: bytes) -> int:
    """Memory that decoding takes at its height, from the size the header states; 0 where there is none to read."""
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            width, height = image.size
    except Exception:  # noqa: BLE001 - `decode_image` says what is wrong with it
        return 0
    return BYTES_PER_PIXEL * width * height


def _open(data: bytes, limits: ImageLimits) -> Image.Image:
    if not data:
        raise InvalidRequest("the picture is empty", code="image_decode")
    try:
        return Image.open(io.BytesIO(data), formats=FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise _too_large("the picture", limits) from None
    except UnidentifiedImageError:
        code = "image_format" if _is_other_picture(data) else "image_decode"
        raise InvalidRequest("not a JPEG, PNG or WebP picture", code=code) from None
    except Exception:  # noqa: BLE001 - decoders raise whatever hostile bytes make them raise
        raise InvalidRequest("the picture cannot be decoded", code="image_decode") from None


_OTHER_MAGIC = (
    *(b"GIF8", b"BM", b"II*\0", b"MM\0*", b"\0\0\1\0", b"8BPS", b"\0\0\0\x0cjP"),
    *(b"%PDF", b"<svg", b"<?xml"),
)


def _is_other_picture(data: bytes) -> bool:
    """A picture, but of a format that is not accepted (GIF, BMP, TIFF, ICO, PSD, JPEG 2000, AVIF, …)."""
    return data.startswith(_OTHER_MAGIC) or data[4:8] == b"ftyp"


def _check_size(width: int, height: int, limits: ImageLimits) -> None:
    if width * height > limits.max_pixels:
        raise _too_large(f"{width}x{height} px", limits)
    if min(width, height) < MIN_SIDE_PIXELS or max(width, height) > MAX_RATIO * min(width, height):
        raise InvalidRequest(
            f"{width}x{height} px: sides must be at least {MIN_SIDE_PIXELS} px "
            f"and within {MAX_RATIO}:1",
            code="image_dimensions",
        )


def _too_large(what: str, limits: ImageLimits) -> InvalidRequest:
    return InvalidRequest(f"{what} exceeds {limits.max_pixels} px", code="image_too_large")


def _load(image: Image.Image, apply_exif: bool) -> Image.Image:
    try:
        image.load()
        return ImageOps.exif_transpose(image) if apply_exif else image
    except MemoryError:
        raise  # ours, not the picture's, which is within the limits
    except Exception:  # noqa: BLE001 - truncated or hostile pixels; the text may hold addresses
        raise InvalidRequest("the picture is damaged or cut short", code="image_decode") from None


def _to_rgb(image: Image.Image) -> Image.Image:
    """Any Pillow mode to RGB: 16-bit scaled, not clipped, and alpha laid over white."""
    if image.mode.startswith("I") or image.mode == "F":
        return _from_16_bit(image)
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image.convert("RGB")


def _from_16_bit(image: Image.Image) -> Image.Image:
    """Grey 16-bit samples: 0…65535 becomes 0…255; a colour key is transparent, so it shows white."""
    samples = np.asarray(image).astype(np.float64)  # [height, width]
    grey = np.clip(np.rint(samples / 257.0), 0, 255).astype(np.uint8)
    key = image.info.get("transparency")
    if isinstance(key, int):
        grey[samples == key] = 255
    return Image.fromarray(grey).convert("RGB")
