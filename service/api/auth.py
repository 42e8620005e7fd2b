"""Who is calling: keys to tenants. Every route but the probes and /metrics asks, before a body is read."""

import base64
import binascii
import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from service.engine import Tenant
from service.errors import StartError, Unauthorized
from service.files import Renewed

OPEN_PATHS = frozenset({"/livez", "/readyz", "/health", "/metrics"})
_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="basereward", Basic realm="basereward"'}


def _usable(key: str) -> str:
    """
    Raises:
        ValueError: callers could not send it in a header, or everybody could.
    """
    if not key:
        raise ValueError("the key is empty; give one, or leave the setting out to serve without")
    if not key.isascii() or not key.isprintable():
        raise ValueError(
            "the key has a line break, a control character or a letter beyond ASCII; write it without"
            " (printf %s KEY makes a secret's file, echo KEY adds a line break)"
        )
    if key != key.strip():
        raise ValueError("the key begins or ends with a space; write it without")
    return key


class TenantEntry(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1)
    keys: list[Annotated[str, AfterValidator(_usable)]] = Field(min_length=1)
    weight: float = Field(1.0, gt=0)
    max_queued_responses: int | None = Field(None, gt=0)


class KeyFile(BaseModel):
    model_config = ConfigDict(extra="forbid")

    tenants: list[TenantEntry] = Field(min_length=1)


class Keyring:
    """The keys that open this server, as their SHA-256; none: it is open."""

    def __init__(self, api_key: str | None, path: Path | None) -> None:
        """
        Raises:
            StartError: the key cannot be used, or the key file not be read.
        """
        self._path = path
        self._own = [_digest(_checked(api_key).encode())] if api_key is not None else []
        self._open_tenant = Tenant()
        self._file = Renewed(self._read_again, *filter(None, [path]))
        self._tenants = self._read({})

    def renew(self) -> str | None:
        """Read the file again if it changed; what is wrong with it, once: then the old keys stay."""
        return self._file.renew()

    def _read_again(self) -> str | None:
        known = {tenant.name: tenant for tenant in self._tenants.values()}
        try:
            self._tenants = self._read(known)
        except StartError as error:
            return str(error)
        return None

    @property
    def tenant_names(self) -> set[str]:
        return {tenant.name for tenant in self._tenants.values()} or {self._open_tenant.name}

    def tenant(self, authorization: str | None) -> Tenant:
        """
        Raises:
            Unauthorized: no key, or one that opens nothing.
        """
        if not self._tenants:
            return self._open_tenant
        # How long the look-up takes tells of digests, and nothing of keys.
        found = self._tenants.get(_digest(_offered_key(authorization or "")))
        if found is None:
            raise Unauthorized("a valid API key is needed", headers=_CHALLENGE)
        return found

    def _read(self, known: Mapping[str, Tenant]) -> dict[bytes, Tenant]:
        """By the key's digest. A tenant that is known keeps what it holds of the line."""
        entries = _read_file(self._path).tenants if self._path else []
        keys = [(_digest(key.encode()), entry) for entry in entries for key in entry.keys]
        times = Counter([*self._own, *(key for key, _ in keys)])
        for key, entry in keys:
            if times[key] > 1:
                raise StartError(f"the key file {self._path}: a key of {entry.name} stands twice")
        tenants = {entry.name: known.get(entry.name) or Tenant(entry.name) for entry in entries}
        for entry in entries:
            tenants[entry.name].weight = entry.weight
            tenants[entry.name].max_queued_responses = entry.max_queued_responses
        found = dict.fromkeys(self._own, self._open_tenant) | {k: tenants[e.name] for k, e in keys}
        alone = len({tenant.name for tenant in found.values()}) == 1
        for tenant in found.values():
            tenant.alone = alone
        return found


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()


def _checked(key: str) -> str:
    try:
        return _usable(key)
    except ValueError as error:
        message = f"setting 'api_key' (as a variable: BASEREWARD_API_KEY): {error}"
        raise StartError(message) from None


def _read_file(path: Path) -> KeyFile:
    try:
        return KeyFile.model_validate(json.loads(path.read_text("utf-8")))
    except ValidationError as error:
        raise StartError(f"the key file {path}: {_words(error)}") from None
    except OSError as error:
        raise StartError(f"cannot read the key file {path}: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise StartError(f"the key file {path} is not JSON") from None


def _words(error: ValidationError) -> str:
    """The first fault; no value of the file is repeated."""
    first = error.errors(include_input=False)[0]
    if not first["loc"]:
        return 'must be an object, {"tenants": [{"name": "…", "keys": ["…"]}]}'
    words = first["msg"].removeprefix("Value error, ")
    return f"{'.'.join(map(str, first['loc']))}: {words}"


def _offered_key(authorization: str) -> bytes:
    """The key of `Bearer KEY`, or the password of `Basic user:KEY`."""
    scheme, _, value = authorization.partition(" ")
    if scheme.lower() == "bearer":
        return value.strip().encode()
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(value, validate=True).partition(b":")[2]
        except (binascii.Error, ValueError):
            return b""
    return b""


class Authentication:
    """ASGI: default deny. Judged by the path as routed, which no Host header can forge."""

    def __init__(self, app: ASGIApp, keyring: Keyring) -> None:
        self._app = app
        self._keyring = keyring

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] not in OPEN_PATHS:
            authorization = Headers(scope=scope).get("authorization")
            scope["state"]["tenant"] = self._keyring.tenant(authorization)
        await self._app(scope, receive, send)
