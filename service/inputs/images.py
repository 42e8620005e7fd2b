"""Bytes to one upright, opaque RGB raster within limits; nothing here opens a URL or a path."""

import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from service.core import Raster
from service.errors import InvalidRequest
from service.inputs import jpeg, png, webp
from service.inputs.metadata import Metadata

WHOLE_SIDE_PIXELS = 28  # one merged visual token; shorter sides are enlarged to it
MAX_RATIO = 200  # smart_resize refuses more (Qwen2-VL image processor)
ANIMATED = "animated_image"
STRIP_PIXELS = 2**18
BYTES_PER_PIXEL = 16  # Pillow's four, those of a converted copy, and the raster's three
ENLARGED = "image_enlarged"
_TO_8_BIT = ((np.arange(65_536) + 128) // 257).astype(np.uint8)  # sample / 257, rounded
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True, slots=True)
class ImageLimits:
    max_pixels: int
    apply_exif: bool = True


def decode_image(data: bytes, limits: ImageLimits) -> Raster:
    """Decode the first frame of a JPEG, PNG or WebP.

    Metadata are taken off before the decoder sees the picture; size and shape are judged from its header, before any
    pixel is decoded.

    Raises:
        InvalidRequest: image_format, image_decode, image_too_large or image_dimensions.
    """
    if not data:
        raise InvalidRequest("the picture is empty", code="image_decode")
    try:
        return _decoded(data, limits)
    except (InvalidRequest, MemoryError):
        raise  # memory is ours, not the picture's, which is within the limits
    except Exception:  # noqa: BLE001 - hostile bytes make decoders raise anything; the text may hold addresses
        raise InvalidRequest("the picture is damaged or cut short", code="image_decode") from None


def decoding_bytes(data: bytes) -> int:
    """Memory that decoding takes at its height, from the size the header states; 0 where there is none to read."""
    try:
        kind, without_metadata = _format_of(data)
        bare, _ = without_metadata(data)
        with Image.open(io.BytesIO(bare), formats=(kind,)) as image:
            width, height = image.size
    except Exception:  # noqa: BLE001 - `decode_image` says what is wrong with it
        return 0
    return BYTES_PER_PIXEL * width * height


def _decoded(data: bytes, limits: ImageLimits) -> Raster:
    kind, without_metadata = _format_of(data)
    bare, metadata = without_metadata(data)
    try:
        image = Image.open(io.BytesIO(bare), formats=(kind,))
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise _too_large("the picture", limits) from None
    _check_size(*image.size, limits)
    moving = metadata.moving or bool(getattr(image, "is_animated", False))
    image.load()
    rgb = _to_rgb(image)
    turn = _TURNS.get(metadata.orientation) if limits.apply_exif else None
    rgb = rgb if turn is None else rgb.transpose(turn)
    notes = [ANIMATED] * moving + [ENLARGED] * (min(rgb.size) < WHOLE_SIDE_PIXELS)
    return Raster(rgb.width, rgb.height, rgb.tobytes(), tuple(notes))


def _format_of(data: bytes) -> tuple[str, Callable[[bytes], tuple[bytes, Metadata]]]:
    """The decoder's name for the format, and what takes its metadata off.

    Raises:
        InvalidRequest: none that is accepted.
    """
    if data.startswith(jpeg.MAGIC):
        return "JPEG", jpeg.without_metadata
    if data.startswith(png.MAGIC):
        return "PNG", png.without_metadata
    if data.startswith(webp.MAGIC) and data[8:12] == webp.FORM:
        return "WEBP", webp.without_metadata
    code = "image_format" if _is_other_picture(data) else "image_decode"
    raise InvalidRequest("not a JPEG, PNG or WebP picture", code=code)


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
    if min(width, height) < 1 or max(width, height) > MAX_RATIO * min(width, height):
        message = f"{width}x{height} px: sides must be within {MAX_RATIO}:1"
        raise InvalidRequest(message, code="image_dimensions")


def _too_large(what: str, limits: ImageLimits) -> InvalidRequest:
    return InvalidRequest(f"{what} exceeds {limits.max_pixels} px", code="image_too_large")


def _to_rgb(image: Image.Image) -> Image.Image:
    """Any Pillow mode to RGB: 16-bit scaled, not clipped, and alpha laid over white."""
    if image.mode.startswith("I") or image.mode == "F":
        return _from_16_bit(image)
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.has_transparency_data:
        return _over_white(image)
    return image.convert("RGB")


def _over_white(image: Image.Image) -> Image.Image:
    """In strips: as a whole it would take four copies of four bytes a pixel."""
    opaque, rows = Image.new("RGB", image.size), max(1, STRIP_PIXELS // image.width)
    for top in range(0, image.height, rows):
        box = (0, top, image.width, min(top + rows, image.height))
        strip = image.crop(box).convert("RGBA")
        white = Image.new("RGBA", strip.size, "white")
        opaque.paste(Image.alpha_composite(white, strip).convert("RGB"), box)
    return opaque


def _from_16_bit(image: Image.Image) -> Image.Image:
    """Grey 16-bit samples: 0…65535 becomes 0…255; a colour key is transparent, so it shows white."""
    samples = np.asarray(image)  # [height, width]
    if samples.dtype.itemsize > 2:  # noqa: PLR2004 - bytes of 16 bits; Pillow's 32-bit mode holds them too
        samples = np.clip(samples, 0, 65_535).astype(np.uint16)
    grey = _TO_8_BIT[samples]
    key = image.info.get("transparency")
    if isinstance(key, int):
        grey[samples == key] = 255
    return Image.fromarray(grey).convert("RGB")
