"""What a client is told, checked and as headers; secrets stay out of its repr and of every message."""

import base64
import os
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, Literal, Self
from urllib.parse import unquote, urlsplit

from basereward_client.errors import FingerprintChanged

ENVIRONMENT = {
    "api_key": "BASEREWARD_API_KEY",
    "expect_fingerprint": "BASEREWARD_EXPECT_FINGERPRINT",
    "run": "BASEREWARD_RUN",
}


@dataclass(eq=False)
class Settings:
    """
    Args:
        base_url: one or several, of which each is as good; a key may stand in it (http://user:KEY@host).
        timeout: seconds for a whole call: connecting, waiting, every retry and chunk.
        retries: at most so many more tries of a request; None: until the deadline.
        expect_fingerprint: the only reward function to take rewards of; "first": the first that this client meets.
        run: a label for fair shares and reports.
        on_error: "none": a row that cannot be had is None, and stands in `Rewards.errors`.
        jpeg_quality: send opaque PIL images and arrays as JPEG; None: as they are.
    """

    base_url: str | Sequence[str] = field(default="http://127.0.0.1:8000", repr=False)
    _: KW_ONLY
    api_key: str | None = field(default=None, repr=False)
    timeout: float = 600.0
    retries: int | None = None
    max_connections: int = 64
    expect_fingerprint: str | None = None
    expect_numerics: str | None = None
    run: str | None = None
    model: str | None = None
    transform: str | Mapping[str, Any] | None = None
    truncate: Literal["never", "prompt"] | None = None
    on_error: Literal["raise", "none"] = "raise"
    jpeg_quality: int | None = None

    def __post_init__(self) -> None:
        given = [self.base_url] if isinstance(self.base_url, str) else self.base_url
        self.urls = dict(map(_endpoint, given))  # each with its own Authorization, or ""
        if not self.urls or not self.timeout > 0 or self.max_connections < 1:
            raise ValueError("base_url, timeout and max_connections must not be empty or 0")
        if self.on_error not in ("raise", "none"):
            raise ValueError('on_error is "raise" or "none"')
        if not all(text.isascii() and text.isprintable() for text in self.headers().values()):
            raise ValueError("api_key, run and what is expected must be printable ASCII")

    @classmethod
    def from_env(cls, **overrides: Any) -> Self:
        """From BASEREWARD_URL (several: with commas), _TIMEOUT_S, _API_KEY, _EXPECT_FINGERPRINT and _RUN."""
        env = os.environ
        found: dict[str, Any] = {k: env[v] for k, v in ENVIRONMENT.items() if env.get(v)}
        if env.get("BASEREWARD_URL"):
            found["base_url"] = [url.strip() for url in env["BASEREWARD_URL"].split(",")]
        if env.get("BASEREWARD_TIMEOUT_S"):
            found["timeout"] = float(env["BASEREWARD_TIMEOUT_S"])
        return cls(**found | overrides)

    def headers(self, url: str = "") -> dict[str, str]:
        pinned = self.expect_fingerprint if self.expect_fingerprint != "first" else None
        named = {
            "Authorization": f"Bearer {self.api_key}" if self.api_key else self.urls.get(url),
            "X-Run": self.run,
            "X-Expect-Fingerprint": pinned,
            "X-Expect-Numerics": self.expect_numerics,
        }
        return {name: value for name, value in named.items() if value}

    def options(self) -> dict[str, Any]:
        chosen = {"model": self.model, "transform": self.transform, "truncate": self.truncate}
        on_error = "null" if self.on_error == "none" else "fail"
        return {k: v for k, v in chosen.items() if v is not None} | {"on_error": on_error}

    def check(self, scale: tuple[str | None, str | None]) -> None:
        """
        Raises:
            FingerprintChanged: this is another function than the pinned one.
        """
        if self.expect_fingerprint == "first":
            self.expect_fingerprint = scale[0]
        for pinned, got in zip((self.expect_fingerprint, self.expect_numerics), scale, strict=True):
            if pinned and pinned != got:
                message = f"{pinned} is pinned, {got} was answered"
                raise FingerprintChanged(message, expected=pinned, served=got)


def _endpoint(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    user, _, host = parts.netloc.rpartition("@")
    if parts.scheme not in ("http", "https") or not host or parts.query or parts.fragment:
        raise ValueError(f"not an http:// or https:// URL of a server: {parts.scheme}://{host}")
    basic = base64.b64encode(unquote(user).encode()).decode()
    return f"{parts.scheme}://{host}{parts.path.rstrip('/')}", f"Basic {basic}" if user else ""
