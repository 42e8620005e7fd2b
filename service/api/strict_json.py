"""Strict JSON within a budget: members and depth are counted on the bytes, before anything is built of them.

A member takes up to 330 bytes of memory however few it took on the wire (`{"a":{}}`: 10), so bytes do not bound it.
"""

from typing import Any

import numpy as np
import orjson

from service.errors import Busy, InvalidRequest

MAX_DEPTH = 64  # of lists and objects inside each other; the formats' own need 8
PIECE_BYTES = 256 * 2**10  # counted at once: other threads run between two pieces
SMALL_BYTES = 2**16  # up to here brackets and commas are counted in strings too, which is quicker

Bytes = bytes | bytearray | memoryview
_QUOTE, _COMMA = ord('"'), ord(",")
_OPEN, _CLOSE = ord("{"), ord("}")  # `[` and `]` are these without bit 5
_BIT_5 = 0x20
_UNMARKED = bytes(set(range(256)) - set(b'",[]{}'))


class JsonReader:
    """The JSON of one request: its body, and the JSON texts in it, take their members from one budget."""

    def __init__(self, max_members: int) -> None:
        self._max_members = max_members
        self._left = max_members

    def read(self, data: Bytes, what: str = "the body") -> Any:
        """
        Raises:
            InvalidRequest: body_too_large: more members than are left; malformed_json: no JSON, NaN, lone surrogates,
                bad UTF-8, or deeper than 64.
        """
        self._take(data, what)
        try:
            return _loads(data)
        except orjson.JSONDecodeError as error:
            message = f"{what} is not JSON (line {error.lineno}, column {error.colno})"
            raise InvalidRequest(message, code="malformed_json") from None

    def read_text(self, text: str) -> Any:
        """JSON inside a string, where other text may stand as well: None.

        Raises:
            InvalidRequest: body_too_large or malformed_json: beyond the budget, or too deep.
        """
        data = text.encode()
        self._take(data, "a JSON text")
        try:
            return _loads(data)
        except orjson.JSONDecodeError:
            return None

    def _take(self, data: Bytes, what: str) -> None:
        counter = _Counter(self._left)
        members = counter.count(data)
        if members > self._left:
            message = (
                f"the JSON of the request has more than {self._max_members} members "
                "(max_json_members); send it as several requests"
            )
            raise InvalidRequest(message, code="body_too_large")
        if counter.depth > MAX_DEPTH:
            message = f"{what} is nested deeper than {MAX_DEPTH}"
            raise InvalidRequest(message, code="malformed_json")
        self._left -= members


def _loads(data: Bytes) -> Any:
    try:
        return orjson.loads(data)
    except MemoryError:
        raise _no_memory() from None
    except orjson.JSONDecodeError as error:
        if "memory" in error.msg:
            raise _no_memory() from None
        raise


def _no_memory() -> Busy:
    return Busy("there is no memory for this body at the moment")


class _Counter:
    """Counts members up to a limit, and the depth.

    Members are elements of lists and keys of objects, one more for each list and two for each object: an element takes
    some 60 bytes of memory, an empty list 80, an object of one key 232.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.depth = 0  # the deepest so far, of what was counted
        self._members = 0
        self._open = 0  # lists and objects
        self._quoted = 0  # 1 inside a string
        self._escaped = False  # the next byte is

    def count(self, data: Bytes) -> int:
        """Members, or any number above the limit."""
        if len(data) <= SMALL_BYTES:
            text = bytes(data)
            objects = text.count(b"{")
            opened = text.count(b"[") + objects
            members = 2 * opened + objects + text.count(b",")
            if opened <= MAX_DEPTH and members <= self._limit:
                return members
        whole = memoryview(data)
        for begin in range(0, len(whole), PIECE_BYTES):
            self._count(bytes(whole[begin : begin + PIECE_BYTES]))
            if self._members > self._limit or self.depth > MAX_DEPTH:
                break
        return self._members

    def _count(self, piece: bytes) -> None:
        if self._escaped:
            piece = b"_" + piece[1:]
        if b"\\" in piece:
            piece = piece.replace(b"\\\\", b"__")
            self._escaped = piece.endswith(b"\\")
            piece = piece.replace(b'\\"', b"__")
        else:
            self._escaped = False
        if self._quoted and b'"' not in piece:
            return
        marks = np.frombuffer(piece.translate(None, _UNMARKED), np.uint8)
        quotes = marks == _QUOTE
        quoted = (np.cumsum(quotes, dtype=np.uint32) + self._quoted) & 1
        self._quoted = int(quoted[-1]) if len(quoted) else self._quoted
        self._follow(marks[~quotes & (quoted == 0)])

    def _follow(self, marks: np.ndarray) -> None:
        """Commas and brackets outside strings."""
        folded = marks | _BIT_5
        opening = folded == _OPEN
        objects, commas = np.count_nonzero(marks == _OPEN), np.count_nonzero(marks == _COMMA)
        self._members += int(2 * np.count_nonzero(opening) + objects + commas)
        steps = opening.astype(np.int8) - (folded == _CLOSE).astype(np.int8)
        levels = np.cumsum(steps, dtype=np.int32)
        if len(levels):
            self.depth = max(self.depth, self._open + int(levels.max()))
            self._open += int(levels[-1])
