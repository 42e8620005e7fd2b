"""The input tensor of the Open Inference Protocol: its BYTES elements, from JSON or from Triton's binary extension."""

import math
import struct
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Field

from service.api.parsing import check_number
from service.api.schemas import Text, Wire
from service.errors import InvalidRequest

MAX_SIDES = 3  # of a tensor
MAX_LENGTH_DIGITS = 12  # of the header that says where the JSON ends
_LENGTH = struct.Struct("<I")
Side = Annotated[int, Field(strict=True, ge=0)]


class Tensor(Wire):
    name: Text
    shape: list[Side] = Field(min_length=1, max_length=MAX_SIDES, fail_fast=True)
    datatype: Literal["BYTES"]
    data: list[Any] | None = None
    parameters: dict[str, Any] | None = None

    @property
    def binary_bytes(self) -> int | None:
        """The length of its data after the JSON; None: they stand in the JSON.

        Raises:
            InvalidRequest: it is no length.
        """
        size = (self.parameters or {}).get("binary_data_size")
        if size is None or (type(size) is int and size >= 0):  # which True is not
            return size
        param = "inputs[0].parameters.binary_data_size"
        raise InvalidRequest("must be a number of bytes", param=param)


def split(body: bytearray, json_bytes: str | None) -> tuple[memoryview, memoryview]:
    """The JSON of a request and what stands after it.

    Args:
        body: of the request.
        json_bytes: the header `Inference-Header-Content-Length`, if there is one.

    Raises:
        InvalidRequest: the header is no length of this body.
    """
    whole = memoryview(body)
    if json_bytes is None:
        return whole, whole[:0]
    digits = (
        json_bytes.isascii() and json_bytes.isdecimal() and len(json_bytes) <= MAX_LENGTH_DIGITS
    )
    if not digits or int(json_bytes) > len(body):
        raise InvalidRequest("no length of this body", param="Inference-Header-Content-Length")
    return whole[: int(json_bytes)], whole[int(json_bytes) :]


def elements(tensor: Tensor, binary: memoryview, limit: int) -> list[str]:
    """
    Args:
        tensor: of the request.
        binary: what came after its JSON.
        limit: of elements.

    Raises:
        InvalidRequest: they are more than the limit, or not as many as the shape says, or not text.
    """
    if 0 in tensor.shape:
        count = 0
    else:
        check_number(max(tensor.shape), limit)
        count = math.prod(tensor.shape)
        check_number(count, limit)
    size = tensor.binary_bytes
    found: list[str] = []
    for element in _flat(tensor.data or []) if size is None else _binary(binary, size):
        found.append(element)
        if len(found) > count:
            message = f"more elements than the {count} of its shape"
            raise InvalidRequest(message, param="inputs[0].data")
    if len(found) < count:
        raise InvalidRequest(f"{len(found)} elements for {count}", param="inputs[0].data")
    return found


def _flat(data: list[Any]) -> Iterator[str]:
    """As deep as JSON may be."""
    for value in data:
        if isinstance(value, list):
            yield from _flat(value)
        elif isinstance(value, str):
            yield value
        else:
            raise InvalidRequest("an element is not text", param="inputs[0].data")


def _binary(data: memoryview, size: int) -> Iterator[str]:
    at = 0
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
            yield str(data[at : at + length], "utf-8")
        except UnicodeDecodeError:
            raise InvalidRequest("an element is not UTF-8", param="inputs[0].data") from None
        at += length
