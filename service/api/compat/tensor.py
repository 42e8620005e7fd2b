"""The input tensor of the Open Inference Protocol: its BYTES elements, from JSON or from Triton's binary extension."""

import struct
from typing import Any, Literal

from pydantic import Field

from service.api.body import parse_json
from service.api.schemas import Text, Wire
from service.errors import InvalidRequest

_LENGTH = struct.Struct("<I")


class Tensor(Wire):
    name: Text
    shape: list[int] = Field(min_length=1)
    datatype: Literal["BYTES"]
    data: list[Any] | None = None
    parameters: dict[str, Any] | None = None

    @property
    def binary_bytes(self) -> int | None:
        """The length of its data after the JSON; None: they stand in the JSON."""
        size = (self.parameters or {}).get("binary_data_size")
        return size if isinstance(size, int) else None


def split(body: bytearray, json_bytes: str | None) -> tuple[Any, bytes]:
    """The JSON of a request and what stands after it.

    Args:
        body: of the request.
        json_bytes: the header `Inference-Header-Content-Length`, if there is one.

    Raises:
        InvalidRequest: malformed_json, or the header is no length.
    """
    if json_bytes is None:
        return parse_json(body), b""
    if not json_bytes.isdecimal() or int(json_bytes) > len(body):
        raise InvalidRequest("no length of this body", param="Inference-Header-Content-Length")
    return parse_json(body[: int(json_bytes)]), bytes(body[int(json_bytes) :])


def elements(tensor: Tensor, binary: bytes) -> list[str]:
    """
    Raises:
        InvalidRequest: they are not as many as the shape says, or not text.
    """
    size = tensor.binary_bytes
    found = _flat(tensor.data or []) if size is None else _binary(binary, size)
    count = 1
    for side in tensor.shape:
        count *= side
    if len(found) != count:
        raise InvalidRequest(f"{len(found)} elements for {count}", param="inputs[0].data")
    return found


def _flat(data: list[Any]) -> list[str]:
    found: list[str] = []
    for value in data:
        if isinstance(value, list):
            found += _flat(value)
        elif isinstance(value, str):
            found.append(value)
        else:
            raise InvalidRequest("an element is not text", param="inputs[0].data")
    return found


def _binary(data: bytes, size: int) -> list[str]:
    found, at = [], 0
    fault = InvalidRequest("the elements do not fill their bytes", param="inputs[0].data")
    if size != len(data):
        raise fault
    while at < size:
        if at + _LENGTH.size > size:
            raise fault
        (length,) = _LENGTH.unpack_from(data, at)
        at += _LENGTH.size
        if at + length > size:
            raise fault
        try:
            found.append(data[at : at + length].decode())
        except UnicodeDecodeError:
            raise InvalidRequest("an element is not UTF-8", param="inputs[0].data") from None
        at += length
    return found
