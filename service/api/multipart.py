"""`multipart/form-data` bodies: part `request` is the JSON, every further part a picture named by its `ref`."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from service.errors import InvalidRequest

if TYPE_CHECKING:  # not there at run time
    from python_multipart.multipart import MultipartCallbacks

CONTENT_TYPE = "multipart/form-data"
REQUEST_PART = "request"
PIECE_BYTES = 2**20


@dataclass(frozen=True, slots=True)
class Form:
    request: bytes
    pictures: dict[str, bytes]  # by part name; the files' own bytes


def is_form(content_type: str) -> bool:
    return content_type.partition(";")[0].strip().lower() == CONTENT_TYPE


def parse_form(body: bytes | bytearray, content_type: str, max_pictures: int) -> Form:
    """
    Args:
        body: of the request.
        content_type: its header, which names the boundary.
        max_pictures: that it may hold.

    Raises:
        InvalidRequest: malformed_multipart or too_many_images.
    """
    _, options = parse_options_header(content_type)
    boundary = options.get(b"boundary")
    if not boundary:
        raise _malformed("the content-type names no boundary")
    parts = _Parts()
    try:
        _feed(MultipartParser(boundary, parts.callbacks()), body, b"--" + boundary, max_pictures)
    except FormParserError:
        raise _malformed("the body does not follow its boundary") from None
    if not parts.ended:
        raise _malformed("the body ends before its last boundary")
    pictures = parts.by_name
    request = pictures.pop(REQUEST_PART, None)
    if request is None:
        raise _malformed(f"a part {REQUEST_PART!r} with the JSON is needed")
    return Form(request, pictures)


def _feed(
    parser: MultipartParser, body: bytes | bytearray, delimiter: bytes, max_pictures: int
) -> None:
    """A piece at a time, so that other threads run in between.

    Delimiters are counted before they are parsed: the parser takes 12 µs for each.
    """
    left = max_pictures + 2  # before the JSON, before each picture, and at the end
    whole = memoryview(body)
    for begin in range(0, len(whole), PIECE_BYTES):
        piece = bytes(whole[begin : begin + PIECE_BYTES])
        left -= piece.count(delimiter)
        if left < 0:
            message = f"the form has more than {max_pictures} pictures (max_images)"
            raise InvalidRequest(message, code="too_many_images")
        parser.write(piece)
    parser.finalize()


def _malformed(message: str) -> InvalidRequest:
    return InvalidRequest(message, code="malformed_multipart")


class _Parts:
    """Takes the parser's calls; a part may be as long as the body."""

    def __init__(self) -> None:
        self.by_name: dict[str, bytes] = {}
        self.ended = False
        self._header, self._value, self._data = bytearray(), bytearray(), bytearray()
        self._disposition = b""

    def callbacks(self) -> "MultipartCallbacks":
        return {
            "on_header_field": lambda data, a, b: self._header.extend(data[a:b]),
            "on_header_value": lambda data, a, b: self._value.extend(data[a:b]),
            "on_header_end": self._header_ended,
            "on_part_data": lambda data, a, b: self._data.extend(memoryview(data)[a:b]),
            "on_part_end": self._part_ended,
            "on_end": self._ended,
        }

    def _header_ended(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = bytes(self._value)
        self._header, self._value = bytearray(), bytearray()

    def _part_ended(self) -> None:
        _, options = parse_options_header(self._disposition)
        try:
            name = options.get(b"name", b"").decode()
        except UnicodeDecodeError:
            raise _malformed("a part's name is not UTF-8") from None
        if not name:
            raise _malformed("a part has no name")
        if name in self.by_name:
            raise _malformed(f"the part {name[:64]!r} stands twice")
        self.by_name[name] = bytes(self._data)
        self._data, self._disposition = bytearray(), b""

    def _ended(self) -> None:
        self.ended = True
