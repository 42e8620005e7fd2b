"""The request body: counted while it streams in, so that a refusal costs one chunk."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from starlette.requests import Request

from service.engine import Admission
from service.errors import DeadlineExceeded, InvalidRequest

LEAST_S = 1.0  # for a body that is on its way when its deadline is past: what it asks for decides
_CLOSE = {"Connection": "close"}  # the rest of the body would stand before the next request


class BodyReader:
    """Holds the bytes of one request in the admission count until it is closed."""

    def __init__(self, admission: Admission, max_bytes: int, idle_timeout_s: float) -> None:
        self._admission = admission
        self._max_bytes = max_bytes
        self._idle_timeout_s = idle_timeout_s
        self._held = 0

    async def read(
        self, request: Request, types: Sequence[str], deadline: float, *, patient: bool
    ) -> bytearray:
        """
        Args:
            request: whose body it is.
            types: content types that are understood; none stated is fine too.
            deadline: of the request, monotonic seconds: a byte now and then does not keep it open for ever.
            patient: wait until then for room for all of it, where its length is stated: nobody waits with half
                of it read.

        Raises:
            InvalidRequest: unsupported_media_type, body_too_large or body_too_slow.
            DeadlineExceeded: it was still coming.
            Busy: too many bytes are waiting already.
            ClientDisconnect: the caller hung up.
        """
        _check_type(request.headers.get("content-type", ""), types)
        length = _content_length(request)
        self._check_size(length)
        if patient:
            await self._admission.wait_for_bytes(length, deadline)
            self._held = length
        return await self._read(request, deadline)

    def release(self) -> None:
        self._admission.hold_bytes(-self._held)
        self._held = 0

    async def _read(self, request: Request, deadline: float) -> bytearray:
        body = bytearray()
        chunks = request.stream().__aiter__()
        until = max(deadline, time.monotonic() + LEAST_S)
        while True:
            left_s = max(0.0, until - time.monotonic())
            try:
                async with asyncio.timeout(min(self._idle_timeout_s, left_s)):
                    chunk = await anext(chunks, None)
            except TimeoutError:
                if left_s < self._idle_timeout_s:
                    message = "the deadline passed while the body was still coming"
                    raise DeadlineExceeded(message, headers=_CLOSE) from None
                message = f"no body byte for {self._idle_timeout_s:g} s"
                raise InvalidRequest(message, code="body_too_slow", headers=_CLOSE) from None
            if chunk is None:
                return body
            self._check_size(len(body) + len(chunk))
            body += chunk
            beyond = max(0, len(body) - self._held)
            self._admission.hold_bytes(beyond)
            self._held += beyond

    def _check_size(self, size: int) -> None:
        if size > self._max_bytes:
            message = f"the body exceeds {self._max_bytes} bytes"
            raise InvalidRequest(message, code="body_too_large", headers=_CLOSE)


@contextmanager
def reading(reader: BodyReader) -> Iterator[BodyReader]:
    try:
        yield reader
    finally:
        reader.release()


def _content_length(request: Request) -> int:
    stated = request.headers.get("content-length", "0")
    return int(stated) if stated.isdecimal() else 0


def _check_type(content_type: str, types: Sequence[str]) -> None:
    kind = content_type.partition(";")[0].strip().lower()
    if kind and kind not in types and not kind.endswith("+json"):
        message = f"send {' or '.join(types)}"
        raise InvalidRequest(message, code="unsupported_media_type")
