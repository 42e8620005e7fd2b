"""docs/settings.md names every setting with its flag, variable and real default, and none that does not exist."""

import json
import re

import pytest

from service.api.auth import Keyring
from service.settings import Settings
from service.sources import CLIENTS, CONFIG_KEY, ENV_PREFIX, env_name, load
from tests.promises.markdown import fences, page, table

PAGE = page("docs/settings.md")
ROWS = table(PAGE, "flag", "variable", "default", "unit", "meaning")
BY_FLAG = {row[0].strip("`"): row for row in ROWS}
UNITS = {
    "_s": "seconds",
    "_bytes": "bytes",
    "_pixels": "pixels",
    "_chars": "characters",
    "_tokens": "tokens",
}
# What Kubernetes injects, and the example of an unknown one: named in the page to say that they stop the start.
# The client's are named to say that they do not.
NOT_SETTINGS = {"BASEREWARD_SERVICE_HOST", "BASEREWARD_MAX_BODYBYTES", "BASEREWARD_CONFIG"} | {
    env_name(variable) for variable in CLIENTS
}


def flag_of(field: str) -> str:
    return "--" + field.replace("_", "-")


def written(default: object) -> str:
    if default in (None, ()):
        return "unset"
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    return f"`{default}`"


@pytest.mark.parametrize("field", Settings.model_fields)
def test_setting_is_documented(field):
    row = BY_FLAG[flag_of(field)]
    assert row[1] == f"`{env_name(field)}`"
    assert row[2] == written(Settings.model_fields[field].default)
    assert len(row[4]) > 10


def test_nothing_else_is_documented():
    assert sorted(BY_FLAG) == sorted(map(flag_of, Settings.model_fields))
    assert len(ROWS) == len(BY_FLAG)


@pytest.mark.parametrize(
    "field", [f for f in Settings.model_fields if any(f.endswith(suffix) for suffix in UNITS)]
)
def test_unit_is_the_suffix(field):
    suffix = next(suffix for suffix in UNITS if field.endswith(suffix))
    assert BY_FLAG[flag_of(field)][3] == UNITS[suffix]


def test_every_variable_named_anywhere_exists():
    known = {env_name(field) for field in Settings.model_fields} | NOT_SETTINGS
    assert set(re.findall(rf"{ENV_PREFIX}[A-Z_]*[A-Z]", PAGE)) <= known
    assert env_name(CONFIG_KEY) in PAGE


def test_toml_example_loads(tmp_path):
    (example,) = fences(PAGE, "toml")
    path = tmp_path / "basereward.toml"
    path.write_text(example, "utf-8")
    loaded = load({"config": str(path), "port": "8001"}, {"BASEREWARD_HOST": "127.0.0.9"})
    assert (loaded.port, loaded.host, loaded.max_batch_tokens) == (8001, "127.0.0.9", 32768)
    assert loaded.allowed_url_hosts == ("images.example.org",)


def test_key_file_example_opens(tmp_path):
    (example,) = fences(PAGE, "json")
    path = tmp_path / "keys.json"
    path.write_text(example, "utf-8")
    keyring = Keyring(None, path)
    for tenant in json.loads(example)["tenants"]:
        for key in tenant["keys"]:
            found = keyring.tenant(f"Bearer {key}")
            assert (found.name, found.weight) == (tenant["name"], tenant.get("weight", 1.0))
            assert found.max_queued_responses == tenant.get("max_queued_responses")
