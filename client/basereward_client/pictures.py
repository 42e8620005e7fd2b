"""Every kind of picture to what is sent, once for each distinct content; Pillow only where it is there already."""

import hashlib
import io
import sys
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from basereward_client.errors import InvalidPicture

MEMBERS = (
    "bytes",
    "image",
    "image_url",
    "url",
    "path",
)  # of rows and parts; the first present counts
ORIENTATION = 0x0112  # the EXIF tag
ARRAYS = ((2,), (3, 3), (3, 4))  # dimensions and channels
PNG_MODES = ("1", "L", "LA", "I;16", "P", "RGB", "RGBA")


class Pictures:
    """The pictures of one call: `sources` holds encoded files, and strings that are the server's to read."""

    def __init__(self, jpeg_quality: int | None) -> None:
        self.sources: dict[str, bytes | str] = {}  # by the ref they are sent under
        self._jpeg_quality = jpeg_quality
        self._seen: dict[int, tuple[str, Any]] = {}  # by id, which the picture kept alive holds
        self._by_pixels: dict[bytes, str] = {}

    def ref(self, picture: Any) -> str:
        """
        Raises:
            InvalidPicture: it cannot be read or encoded, or is none.
        """
        if id(picture) not in self._seen:
            try:
                self._seen[id(picture)] = self._new(picture), picture
            except (InvalidPicture, MemoryError):
                raise
            except Exception as error:  # decoders raise whatever damaged bytes make them raise
                raise InvalidPicture(f"the picture cannot be read: {error}") from error
        return self._seen[id(picture)][0]

    def _new(self, picture: Any) -> str:
        if isinstance(picture, Mapping):
            return self.ref(_member(picture))
        if isinstance(picture, PathLike):
            picture = Path(picture).read_bytes()
        if isinstance(picture, str | bytes | bytearray | memoryview):
            return self._kept(picture if isinstance(picture, str) else bytes(picture))
        image = _image(picture)
        stated = image.getexif().get(ORIENTATION)
        orientation = stated if stated in range(2, 9) else 1
        look = image.mode, image.size, image.getpalette(None), image.info.get("transparency")
        pixels = hashlib.sha256(repr((look, orientation)).encode() + image.tobytes()).digest()
        if pixels not in self._by_pixels:
            self._by_pixels[pixels] = self._kept(self._encoded(image, orientation))
        return self._by_pixels[pixels]

    def _kept(self, source: bytes | str) -> str:
        content = source.encode() if isinstance(source, str) else source
        ref = f"{type(source).__name__}-{hashlib.sha256(content).hexdigest()[:32]}"
        self.sources[ref] = source
        return ref

    def _encoded(self, image: Any, orientation: int) -> bytes:
        """Of the metadata, what the server reads of files: the orientation."""
        file, exif = io.BytesIO(), type(image.getexif())()
        exif[ORIENTATION] = orientation
        how: dict[str, Any] = {"format": "PNG", "compress_level": 1}
        opaque = image.mode in ("L", "RGB") and "transparency" not in image.info
        if self._jpeg_quality is not None and opaque:
            how = {"format": "JPEG", "quality": self._jpeg_quality}
        image.save(file, exif=exif.tobytes(), icc_profile=None, **how)
        return file.getvalue()


def _member(row: Mapping[str, Any]) -> Any:
    """What a row or a chat part holds: {"bytes", "path"}, {"image"}, {"image_url": {"url"}}."""
    for name in MEMBERS:
        if row.get(name) is not None:
            is_file = name == "path" and "://" not in row[name]
            return Path(row[name]) if is_file else row[name]
    raise InvalidPicture(f"a mapping with none of {', '.join(MEMBERS)} is no picture")


def image_of(array: Any) -> Any:
    """A numpy array as a PIL image.

    Raises:
        InvalidPicture: its kind or shape is not one that says how it looks.
    """
    from PIL import Image

    if array.dtype != "uint8" or (array.ndim, *array.shape[2:]) not in ARRAYS:
        raise InvalidPicture(
            "an array must be uint8, [height, width] or [height, width, 3 or 4]; "
            f"this one is {array.dtype} {list(array.shape)}"
        )
    return Image.fromarray(array)


def _image(picture: Any) -> Any:
    """A PIL image in a mode that PNG holds without loss."""
    numpy, pil = sys.modules.get("numpy"), sys.modules.get("PIL.Image")
    if numpy is not None and isinstance(picture, numpy.ndarray):
        picture = image_of(picture)
        pil = sys.modules["PIL.Image"]
    if pil is None or not isinstance(picture, pil.Image):
        raise InvalidPicture(f"a {type(picture).__name__} is no picture")
    if picture.mode in PNG_MODES:
        return picture
    if picture.mode[0] in "IF":  # which number shows as white is anybody's guess, but for 16 bits
        samples = picture.convert("I")
        if picture.mode == "F" or not all(0 <= x < 2**16 for x in samples.getextrema()):
            raise InvalidPicture(f"mode {picture.mode} is only sent where it holds 16-bit samples")
        return samples.convert("I;16")
    return picture.convert("RGBA" if picture.mode in ("PA", "RGBa") else "RGB")
