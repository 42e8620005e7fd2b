"""A picture's source to its bytes: data URIs and bare base64 here, URLs and paths through the fetcher."""

import re

import pybase64

from service.core import Picture
from service.errors import InvalidRequest
from service.inputs.fetch import Fetcher

_DATA_URI = re.compile(r"data:(?P<mime>[\w.+-]+/[\w.+-]+)?(?P<params>(;[^,;]*)*),", re.IGNORECASE)
_SCHEME = re.compile(r"(?P<scheme>[a-zA-Z][a-zA-Z0-9+.-]*)://")


def is_fetched(picture: Picture) -> bool:
    """Whether the bytes stand elsewhere, behind a URL."""
    source = picture.source
    return isinstance(source, str) and _SCHEME.match(source[:32]) is not None


def picture_bytes(picture: Picture, fetcher: Fetcher) -> bytes:
    """The encoded picture, still compressed.

    Raises:
        InvalidRequest: image_decode, image_format, url_not_allowed or url_fetch_failed.
    """
    source = picture.source
    if isinstance(source, bytes):
        return source
    if source[:5].lower() == "data:":
        return _from_data_uri(source)
    if is_fetched(picture):
        return fetcher.fetch(source)
    return _from_base64(source)


def _from_data_uri(source: str) -> bytes:
    head = _DATA_URI.match(source[:256])
    if head is None or not head["params"].lower().endswith(";base64"):
        raise InvalidRequest("a data: URI must be data:image/…;base64,…", code="image_decode")
    if head["mime"] and not head["mime"].lower().startswith("image/"):
        raise InvalidRequest("the data: URI is not an image", code="image_format")
    return _from_base64(source[head.end() :])


def _from_base64(text: str) -> bytes:
    """Standard alphabet; line breaks are forgiven, anything else is an error, never skipped."""
    if any(c in text for c in "\r\n"):
        text = text.replace("\r", "").replace("\n", "")
    try:
        return bytes(pybase64.b64decode(text.encode("ascii"), validate=True))
    except (ValueError, UnicodeEncodeError):
        raise InvalidRequest("the picture is not valid base64", code="image_decode") from None
