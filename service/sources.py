"""Settings from where they are given: flags, variables, the TOML file; the only reader of the environment."""

import os
import tomllib
from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_origin

from pydantic import SecretStr, ValidationError

from service.errors import StartError
from service.settings import Settings

ENV_PREFIX = "BASEREWARD_"
ELSEWHERE = {"OTEL_EXPORTER_OTLP_ENDPOINT": "otlp_endpoint"}  # variables that others have named
CLIENTS = frozenset({"url", "run", "expect_fingerprint"})  # read by basereward-client alone
MOST_SHOWN = 60  # characters of a value that no setting takes
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


def load(flags: Mapping[str, Any], environ: Mapping[str, str] | None = None) -> Settings:
    """Settings from flags over environment over file over defaults.

    Raises:
        StartError: a name no setting has, or a value no setting takes, in one line.
    """
    environ = os.environ if environ is None else environ
    given = {k: v for k, v in flags.items() if v is not None}
    variables = from_environment(environ)
    path = given.pop(CONFIG_KEY, None) or variables.pop(CONFIG_KEY, None)
    variables.pop(CONFIG_KEY, None)
    merged = (from_file(Path(path)) if path else {}) | variables | given
    try:
        return Settings(**{k: _split(k, v) for k, v in merged.items()})
    except ValidationError as error:
        raise StartError(_one_line(error)) from None


def _split(name: str, value: Any) -> Any:
    """Lists arrive as one string from flags and variables; an empty variable is an unset one, but for the key."""
    field = Settings.model_fields.get(name)
    if value == "" and field is not None and name != "api_key":
        return field.default
    if isinstance(value, str) and field is not None and get_origin(field.annotation) is tuple:
        return tuple(part.strip() for part in value.split(",") if part.strip())
    if isinstance(value, str) and value.isdigit() and name == "overload_status":
        return int(value)
    return value


def _one_line(error: ValidationError) -> str:
    """The first fault, with what was given; a secret is not repeated."""
    first = error.errors()[0]
    name, given = str(first["loc"][0]), str(first["input"])
    variable = f"(as a variable: {env_name(name)})"
    if first["type"] == "extra_forbidden":
        meant = nearest(name, Settings.model_fields)
        hint = f"; did you mean {meant!r}?" if meant else "; see docs/settings.md"
        return f"unknown setting {name!r} {variable}{hint}"
    fault = f"setting {name!r} {variable}: {first['msg'].removeprefix('Value error, ')}"
    if first["input"] is None or Settings.model_fields[name].annotation == SecretStr | None:
        return fault
    return f"{fault} (given: {given[:MOST_SHOWN]!r})"


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that was probably meant by one that is not: a unit left out, or a letter."""
    known = list(known)
    ends = [one for one in known if one.startswith(f"{name}_")]
    return next(iter([*ends, *get_close_matches(name, known, 1)]), None)


def set_library_defaults(
    arguments: Sequence[str] = (), environ: MutableMapping[str, str] | None = None
) -> None:
    """Variables that libraries read when they are loaded, where nobody has set them: before torch is imported.

    Args:
        arguments: the command line, of which no parser has been made yet.
        environ: the variables; default the process's.
    """
    environ = os.environ if environ is None else environ
    # OpenMP's threads spin where they wait for each other. Where another process needs a core, the one that was
    # taken off it is waited for by all the others, at every operator: a step of 5 ms took 800.
    if _early("cpu_wait", arguments, environ) != "active":
        environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # Batches are tokenised on the engine's threads, where tenants take turns: the library's own pool would serve
    # the calls of all threads first come, first served.
    environ.setdefault("TOKENIZERS_PARALLELISM", "false")


def _early(name: str, arguments: Sequence[str], environ: Mapping[str, str]) -> Any:
    """One setting before there is a parser; what is wrong with any is said later, by `load`."""
    given: dict[str, Any] = {key: environ.get(env_name(key)) or None for key in (CONFIG_KEY, name)}
    flags = {"--" + key.replace("_", "-"): key for key in given}
    for flag, value in zip(arguments, [*arguments[1:], ""], strict=False):
        word, equals, rest = flag.partition("=")
        if word in flags:
            given[flags[word]] = rest if equals else value
    if given[name] is None and given[CONFIG_KEY] is not None:
        try:
            return from_file(Path(given[CONFIG_KEY])).get(name)
        except StartError:
            return None
    return given[name]
