"""Every error a caller can meet: one tree, each leaf with its API code and HTTP status.

ServiceError
├── InvalidRequest      400 404 405 408 412 413 415 422 431: the caller can mend it
├── Unauthorized        401
├── Busy                429 503: the same request may succeed later (Retry-After)
├── DeadlineExceeded    504
└── Failure             500: ours
StartError              the server cannot start; one readable line, never an HTTP answer
GoldenMismatch          the loaded model is not the one its checkpoint describes; keeps it unready
└── NotProven           nor any reward model: one number for everything, or another than stock transformers'
OutOfMemory             a step was too large for the device; a smaller one may do
DeviceLost              no step can succeed any more in this process

Messages are written for the caller: no exception text, paths, addresses or secrets.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

E = TypeVar("E", bound=BaseException)
STATUS_BY_CODE = {
    "malformed_json": 400,
    "malformed_multipart": 400,
    "malformed_request": 400,
    "unauthorized": 401,
    "unknown_model": 404,
    "not_found": 404,
    "method_not_allowed": 405,
    "body_too_slow": 408,
    "fingerprint_mismatch": 412,
    "numerics_mismatch": 412,
    "body_too_large": 413,
    "too_many_items": 413,
    "too_many_images": 413,
    "unsupported_media_type": 415,
    "headers_too_large": 431,
    "invalid_item": 422,
    "not_supported": 422,
    "unknown_image_ref": 422,
    "image_decode": 422,
    "image_too_large": 422,
    "image_dimensions": 422,
    "image_format": 422,
    "url_not_allowed": 422,
    "url_fetch_failed": 422,
    "item_too_long": 422,
    "overloaded": 429,
    "quota_exceeded": 429,
    "model_failure": 500,
    "non_finite_reward": 500,
    "internal": 500,
    "not_ready": 503,
    "draining": 503,
    "deadline_exceeded": 504,
}


@dataclass(frozen=True, slots=True)
class ItemError:
    """One bad item of a request; `response` names the bad one of a group."""

    index: int
    code: str
    message: str
    response: int | None = None


class ServiceError(Exception):
    """Carries an API code, a message for the caller and, where there is one, the request field at fault."""

    code = "internal"

    def __init__(  # noqa: PLR0913 - what an answer is made of, by name
        self,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        response: int | None = None,
        items: Sequence[ItemError] = (),
        headers: Mapping[str, str] | None = None,
        extra: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or self.code
        self.status = STATUS_BY_CODE[self.code]
        self.param = param
        self.response = response  # of a group, where one of it is at fault
        self.items = tuple(items)
        self.headers = dict(headers or {})
        self.extra = dict(extra or {})

    @property
    def located(self) -> str:
        """The message with the field at fault in front."""
        return f"{self.param}: {self.message}" if self.param else self.message


class InvalidRequest(ServiceError):
    code = "invalid_item"


class Unauthorized(ServiceError):
    code = "unauthorized"


class Busy(ServiceError):
    code = "overloaded"

    def __init__(self, message: str, *, code: str | None = None, retry_after_s: float = 1.0):
        seconds = max(1, round(retry_after_s))
        super().__init__(message, code=code, headers={"Retry-After": str(seconds)})


class DeadlineExceeded(ServiceError):
    code = "deadline_exceeded"


class Failure(ServiceError):
    code = "internal"


class StartError(Exception):
    """The server cannot start (settings, checkpoint, device). The message is the one line to print."""


class GoldenMismatch(Exception):
    """The model does not give the rewards its checkpoint says it gives."""

    def __init__(self, message: str, difference: float = math.nan) -> None:
        super().__init__(message)
        self.difference = difference  # the largest


class NotProven(GoldenMismatch):
    """The loaded model does not do what every reward model does. The message is the reason it is not ready."""


class OutOfMemory(Exception):
    """The device has not enough memory for this step."""


class DeviceLost(Exception):
    """The device fails whatever it is asked: the process has to go."""


def without_frames(error: E) -> E:
    """The error itself, cut off the frames that it and its causes came through.

    The frames hold what they worked on: a request's body, its texts. A future holds its error, and the frames of who
    waited hold the future: such a cycle stays until a full garbage collection, which waits for an idle moment.
    """
    one: BaseException | None = error
    while one is not None:
        one.__traceback__ = None
        one = one.__cause__ or one.__context__
    return error


@dataclass(frozen=True, slots=True)
class BadItem:
    """An item known to be bad before anything is prepared: its error stands for each of its responses."""

    error: ServiceError
    responses: int = 1
