"""Pages of other origins that may call the API from a browser (CORS): none, unless the operator names them."""

from collections.abc import Sequence
from typing import Any

from service.api.parameters import BY_HEADER

TOLD = ("X-Request-Id", "X-Model-Fingerprint", "X-Model-Numerics", "Server-Timing", "Retry-After")


def cross_origin(origins: Sequence[str]) -> dict[str, Any]:
    """What starlette's CORSMiddleware is made with."""
    return {
        "allow_origins": list(origins),
        "allow_methods": ["GET", "HEAD", "POST"],
        "allow_headers": ["Authorization", "Content-Type", "Content-Encoding", *BY_HEADER.values()],
        "expose_headers": TOLD,
    }
