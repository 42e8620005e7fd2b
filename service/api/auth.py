"""Who is calling: keys to tenants. Every route but the probes and /metrics asks, before a body is read."""

import base64
import binascii
import hmac
import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from service.engine import Tenant
from service.errors import StartError, Unauthorized
from service.files import Renewed

OPEN_PATHS = frozenset({"/livez", "/readyz", "/health", "/metrics"})
_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="basereward", Basic realm="basereward"'}


class TenantEntry(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1)
    keys: list[Annotated[str, Field(min_length=1)]] = Field(min_length=1)
    weight: float = Field(1.0, gt=0)
    max_queued_responses: int | None = Field(None, gt=0)


class KeyFile(BaseModel):
    model_config = ConfigDict(extra="forbid")

    tenants: list[TenantEntry] = Field(min_length=1)


class Keyring:
    """The keys that open this server; none: it is open."""

    def __init__(self, api_key: str | None, path: Path | None) -> None:
        """
        Raises:
            StartError: the key file cannot be read or says something else than keys.
        """
        self._api_key, self._path = api_key, path
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
        offered = _offered_key(authorization or "")
        found = None
        for key, tenant in self._tenants.items():  # all of them: the time tells nothing
            if hmac.compare_digest(key, offered):
                found = tenant
        if found is None:
            raise Unauthorized("a valid API key is needed", headers=_CHALLENGE)
        return found

    def _read(self, known: Mapping[str, Tenant]) -> dict[bytes, Tenant]:
        """By key. A tenant that is known keeps what it holds of the line."""
        entries = _read_file(self._path).tenants if self._path else []
        keys = [(key.encode(), entry) for entry in entries for key in entry.keys]
        own = [self._api_key.encode()] if self._api_key else []
        times = Counter([*own, *(key for key, _ in keys)])
        for key, entry in keys:
            if times[key] > 1:
                raise StartError(f"the key file {self._path}: a key of {entry.name} stands twice")
        tenants = {entry.name: known.get(entry.name) or Tenant(entry.name) for entry in entries}
        for entry in entries:
            tenants[entry.name].weight = entry.weight
            tenants[entry.name].max_queued_responses = entry.max_queued_responses
        return dict.fromkeys(own, self._open_tenant) | {key: tenants[e.name] for key, e in keys}


def _read_file(path: Path) -> KeyFile:
    try:
        return KeyFile.model_validate(json.loads(path.read_text("utf-8")))
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise StartError(f"the key file {path}: {where}: {first['msg']}") from None
    except (OSError, ValueError, RecursionError):
        raise StartError(f"the key file {path} cannot be read as JSON") from None


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
