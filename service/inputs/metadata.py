"""What a picture's metadata say of how to show it. They may be wrong in any way: that refuses no pixels."""

import re
import struct
from dataclasses import dataclass

from service.errors import InvalidRequest

MAX_SEGMENTS = (
    65_536  # of a file, chunks likewise: 8 KiB of pixels each, as encoders write them, are 512 MiB
)
ORIENTATION = 0x0112
UPRIGHT = 1
_EXIF_MARK = b"Exif\0\0"
_ORDERS = {b"II*\0": "<", b"MM\0*": ">"}
# Field types that hold a whole number (TIFF 6.0): where in the entry's value it stands, and how.
_NUMBERS = {3: "H", 4: "I", 8: "h", 9: "i"}
_ENTRY_BYTES = 12
_XMP_ORIENTATION = re.compile(rb'tiff:Orientation(?:="|>)([0-9])')


@dataclass(frozen=True, slots=True)
class Metadata:
    exif: bytes = b""  # a TIFF structure, with or without `Exif\0\0` before it
    xmp: bytes = b""
    moving: bool = False  # it has frames after the first

    @property
    def orientation(self) -> int:
        """1 to 8 as in EXIF, or any other number, which turns nothing. XMP counts where EXIF says nothing."""
        found = _of_exif(self.exif)
        if found is None:
            match = _XMP_ORIENTATION.search(self.xmp)
            found = int(match[1]) if match else UPRIGHT
        return found


def too_many_segments() -> InvalidRequest:
    message = f"the picture's file has more than {MAX_SEGMENTS} segments"
    return InvalidRequest(message, code="image_decode")


def _of_exif(exif: bytes) -> int | None:
    """Only the one tag is read: the others may be of odd types, or point anywhere."""
    while exif.startswith(_EXIF_MARK):
        exif = exif[len(_EXIF_MARK) :]
    order = _ORDERS.get(exif[:4])
    if order is None:
        return None
    try:
        (at,) = struct.unpack_from(f"{order}I", exif, 4)
        (entries,) = struct.unpack_from(f"{order}H", exif, at)
    except struct.error:
        return None
    found = None
    at += 2
    for place in range(
        at, min(at + entries * _ENTRY_BYTES, len(exif) - _ENTRY_BYTES + 1), _ENTRY_BYTES
    ):
        tag, kind, count = struct.unpack_from(f"{order}HHI", exif, place)
        if tag == ORIENTATION and count == 1 and kind in _NUMBERS:
            (found,) = struct.unpack_from(order + _NUMBERS[kind], exif, place + 8)
    return found
