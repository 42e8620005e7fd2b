"""A picture's source to its bytes: data URIs and bare base64 here, URLs and paths through the fetcher."""

import re

import pybase64

from service.core import Picture
from service.errors import InvalidRequest
from service.inputs.fetch import Fetcher

MAX_HEAD_CHARS = 1024  # of a data: URI, before its comma
MAX_PATH_CHARS = 1024  # a longer text is not taken for a path
_SCHEME = re.compile(r"(?P<scheme>[a-zA-Z][a-zA-Z0-9+.-]*)://")
# The base64 of a JPEG begins with "/9j/"; no other accepted picture's with "/".
_PATH = re.compile(
    r"/(?!9j/)|~|\.{1,2}[/\\]|[a-zA-Z]:[/\\]|file:|[^,;]*\.[a-zA-Z0-9]{1,5}\Z|[^,;]*\\"
)
_SOURCES = "a text is base64, a data: URI or a URL; for a file send its bytes (the client takes pathlib.Path)"


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
    if len(source) <= MAX_PATH_CHARS and _PATH.match(source):
        message = f"it looks like a path; {_SOURCES}"
        raise InvalidRequest(message, code="image_decode")
    return _from_base64(source)


def _from_data_uri(source: str) -> bytes:
    """Of any media type, or none: the bytes tell what they are."""
    head, comma, _ = source[5:MAX_HEAD_CHARS].partition(",")
    words = head.lower().split(";")
    if not comma or "base64" not in words:
        message = "a data: URI must be base64: data:image/png;base64,… (of any media type)"
        raise InvalidRequest(message, code="image_decode")
    return _from_base64(source[5 + len(head) + 1 :])


def _from_base64(text: str) -> bytes:
    """Standard alphabet and padding; line breaks are forgiven, anything else is an error, never skipped."""
    if any(c in text for c in "\r\n"):
        text = text.replace("\r", "").replace("\n", "")
    try:
        return bytes(pybase64.b64decode(text.encode("ascii"), validate=True))
    except (ValueError, UnicodeEncodeError):
        raise InvalidRequest(_why(text), code="image_decode") from None


def _why(text: str) -> str:
    if "-" in text or "_" in text:
        return "not valid base64: of the URL-safe kind (- and _); use + and /"
    if len(text) % 4 and len(text) > MAX_PATH_CHARS:
        return f"not valid base64: {len(text)} characters, no multiple of 4: it was cut, or lacks its ="
    return f"not valid base64; {_SOURCES}"
