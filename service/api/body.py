"""The request body: counted while it streams in, so that a refusal costs one chunk."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from starlette.requests import Request

from service.api.unpacking import Unpacker, encoding_of
from service.engine import Admission, Tenant
from service.errors import DeadlineExceeded, InvalidRequest
from service.settings import Settings

LEAST_S = 1.0  # for a body that is on its way when its deadline is past: what it asks for decides
_CLOSE = {"Connection": "close"}  # the rest of the body would stand before the next request


@dataclass(frozen=True, slots=True)
class BodyLimits:
    max_bytes: int
    idle_timeout_s: float  # longest silence
    least_bytes_per_s: int  # of all that has come, once the longest silence has passed
    whole_timeout_s: float  # for all of it, whatever deadline the caller states
    max_unpack_ratio: int


class BodyReader:
    """Holds the bytes of one request in the admission count until it is closed."""

    def __init__(self, admission: Admission, tenant: Tenant, limits: BodyLimits) -> None:
        self._admission = admission
        self._tenant = tenant
        self._limits = limits
        self._held = self._announced = 0

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
            InvalidRequest: unsupported_media_type, body_too_large or body_too_slow; malformed where it is not what
                its Content-Encoding says.
            DeadlineExceeded: it was still coming.
            Busy: too many bytes are waiting already.
            ClientDisconnect: the caller hung up.
        """
        content_type = request.headers.get("content-type", "")
        _check_type(content_type, types)
        encoding = encoding_of(request.headers.getlist("content-encoding"))
        length = _content_length(request)
        self._check_size(length)
        if patient:
            await self._admission.announce(length, deadline, self._tenant)
            self._announced = length
        request.state.at_end.append(self.release)
        if encoding is None:
            return await self._read(request, deadline)
        is_form = content_type.lower().startswith("multipart/")
        code = "malformed_multipart" if is_form else "malformed_json"
        return await self._read(
            request, deadline, Unpacker(encoding, self._limits.max_unpack_ratio, code)
        )

    def release(self) -> None:
        self._admission.hold_bytes(-self._held, self._tenant)
        self._admission.unannounce(self._announced, self._tenant)
        self._held = self._announced = 0

    async def _read(
        self, request: Request, deadline: float, unpacker: Unpacker | None = None
    ) -> bytearray:
        body = bytearray()
        chunks = request.stream().__aiter__()
        begun, came = time.monotonic(), 0
        until = max(min(deadline, begun + self._limits.whole_timeout_s), begun + LEAST_S)
        while (chunk := await self._next(chunks, until)) is not None:
            came += len(chunk)
            self._check_rate(came, time.monotonic() - begun)
            if unpacker is None:
                self._add(body, chunk)
                continue
            for piece in unpacker.pieces(chunk):
                self._add(body, piece)
                await asyncio.sleep(0)  # others' turn
        if unpacker is not None:
            unpacker.finish()
        return body

    async def _next(self, chunks: AsyncIterator[bytes], until: float) -> bytes | None:
        left_s = max(0.0, until - time.monotonic())
        try:
            async with asyncio.timeout(min(self._limits.idle_timeout_s, left_s)):
                return await anext(chunks, None)
        except TimeoutError:
            if left_s < self._limits.idle_timeout_s:
                message = "the deadline passed while the body was still coming"
                raise DeadlineExceeded(message, headers=_CLOSE) from None
            message = f"no body byte for {self._limits.idle_timeout_s:g} s"
            raise InvalidRequest(message, code="body_too_slow", headers=_CLOSE) from None

    def _add(self, body: bytearray, piece: bytes) -> None:
        self._check_size(len(body) + len(piece))
        body += piece
        self._admission.hold_bytes(len(piece), self._tenant)
        self._held += len(piece)

    def _check_rate(self, came: int, seconds: float) -> None:
        """A byte now and then would hold the room of the whole body for as long as its caller likes."""
        least = self._limits.least_bytes_per_s
        if came < least * (seconds - self._limits.idle_timeout_s):
            message = f"{came} body bytes in {seconds:.0f} s are less than {least} a second"
            raise InvalidRequest(message, code="body_too_slow", headers=_CLOSE)

    def _check_size(self, size: int) -> None:
        if size > self._limits.max_bytes:
            message = f"the body exceeds {self._limits.max_bytes} bytes"
            raise InvalidRequest(message, code="body_too_large", headers=_CLOSE)


def body_limits(settings: Settings) -> BodyLimits:
    return BodyLimits(
        settings.max_body_bytes,
        settings.body_timeout_s,
        settings.min_body_rate_bytes,
        settings.timeout_s,
        settings.max_unpack_ratio,
    )


@contextmanager
def reading(reader: BodyReader) -> Iterator[BodyReader]:
    """A request that fails gives its bytes back at once; one that is answered, when its answer has been taken."""
    try:
        yield reader
    except BaseException:
        reader.release()
        raise


def _content_length(request: Request) -> int:
    stated = request.headers.get("content-length", "0")
    return int(stated) if stated.isdecimal() else 0


def _check_type(content_type: str, types: Sequence[str]) -> None:
    kind = content_type.partition(";")[0].strip().lower()
    if kind and kind not in types and not kind.endswith("+json"):
        message = f"send {' or '.join(types)}"
        raise InvalidRequest(message, code="unsupported_media_type")
