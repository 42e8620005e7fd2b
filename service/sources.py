"""Where settings are given: variables and the TOML file, by the settings' names; what they mean is not judged here."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from service.errors import StartError

ENV_PREFIX = "BASEREWARD_"
ELSEWHERE = {"OTEL_EXPORTER_OTLP_ENDPOINT": "otlp_endpoint"}  # variables that others have named
CLIENTS = frozenset({"url", "run", "expect_fingerprint"})  # read by basereward-client alone
CONFIG_KEY = "config"  # names the TOML file; a flag and a variable, not a key of the file itself


def env_name(field: str) -> str:
    return ENV_PREFIX + field.upper()


def from_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Variables by setting; a shell in which a trainer runs has the client's as well, which are none of ours."""
    named = {v: environ[k] for k, v in ELSEWHERE.items() if k in environ}
    ours = {k[len(ENV_PREFIX) :].lower(): v for k, v in environ.items() if k.startswith(ENV_PREFIX)}
    return named | {name: value for name, value in ours.items() if name not in CLIENTS}


def from_file(path: Path) -> dict[str, Any]:
    """
    Raises:
        StartError: it cannot be read, or is not TOML.
    """
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise StartError(f"cannot read the settings file {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise StartError(f"the settings file {path} is not TOML: {error}") from None
