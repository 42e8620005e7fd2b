"""Keys that cannot work stop the start with a line that mends them; those that do are kept as digests."""

import json
import logging

import pytest

from service.api.auth import Keyring
from service.app import create_app
from service.errors import StartError
from service.settings import Settings
from service.sources import load
from tests.api.serving import RawCall, served
from tests.models import StandIn

BAD = {
    "empty": ("", "is empty"),
    "line break": ("sesame\n", "line break"),
    "carriage return": ("sesame\r\n", "line break"),
    "inside": ("ses\ny", "line break"),
    "tab": ("ses\ty", "control character"),
    "NUL": ("ses\0y", "control character"),
    "umlaut": ("schlüssel", "beyond ASCII"),
    "no-break space": ("ses\u00a0y", "beyond ASCII"),
    "space at the end": ("sesame ", "ends with a space"),
    "only a space": (" ", "ends with a space"),
}


@pytest.mark.parametrize(("key", "why"), BAD.values(), ids=BAD)
def test_a_key_that_nobody_or_everybody_could_send_stops_the_start(key, why, tmp_path):
    with pytest.raises(StartError, match=why) as refused:
        create_app(load({}, {"BASEREWARD_API_KEY": key}), StandIn())
    assert "BASEREWARD_API_KEY" in str(refused.value)
    assert key.strip() == "" or key not in str(refused.value)
    path = tmp_path / "keys.json"
    path.write_text(json.dumps({"tenants": [{"name": "a", "keys": ["good", key]}]}), "utf-8")
    with pytest.raises(StartError, match=why):
        Keyring(None, path)


def test_an_empty_key_by_flag_or_file_is_refused_too(tmp_path):
    path = tmp_path / "settings.toml"
    path.write_text('api_key = ""\n')
    for flags in ({"api_key": ""}, {"config": str(path)}):
        with pytest.raises(StartError, match="is empty"):
            create_app(load(flags, {}), StandIn())


def test_no_key_in_clear_is_kept(tmp_path):
    path = tmp_path / "keys.json"
    path.write_text(json.dumps({"tenants": [{"name": "a", "keys": ["sesame-1"]}]}))
    keyring = Keyring("sesame-0", path)
    assert "sesame" not in repr(vars(keyring) | {"_file": None})
    assert keyring.tenant("Bearer sesame-1").name == "a"
    assert keyring.tenant("Bearer sesame-0").name == "default"


@pytest.mark.anyio
async def test_a_wrong_key_can_be_traced_to_its_sender(caplog):
    caplog.set_level(logging.INFO, "service.access")
    async with served(api_key="sesame") as server:
        call = await RawCall(server.app, headers=[("authorization", "Bearer guess")]).run()
        assert call.status == 401
    (line,) = [r for r in caplog.records if getattr(r, "status", 0) == 401]
    assert line.peer == "127.0.0.1"


CLIENTS = {
    "BASEREWARD_URL": "http://x:1",
    "BASEREWARD_RUN": "r",
    "BASEREWARD_EXPECT_FINGERPRINT": "f",
}


def test_the_clients_variables_are_none_of_the_servers():
    assert load({}, CLIENTS) == Settings()
    with pytest.raises(StartError, match="unknown setting 'uri'"):
        load({}, {"BASEREWARD_URI": "http://x:1"})


@pytest.mark.anyio
async def test_an_empty_expectation_is_none():
    async with served() as server:
        item = {"prompt": "p", "response": "r"}
        query = "/score?expect_fingerprint=&expect_numerics=&timeout_s=&run="
        assert (await server.client.post(query, json=item)).status_code == 200


@pytest.mark.anyio
async def test_info_names_files_without_their_folders(tmp_path):
    keys = tmp_path / "keys.json"
    keys.write_text(json.dumps({"tenants": [{"name": "a", "keys": ["k"]}]}))
    places = {"checkpoint": str(tmp_path), "allowed_file_dir": tmp_path, "api_key_file": keys}
    async with served(**places) as server:
        info = await server.client.get("/info", headers={"authorization": "Bearer k"})
    assert info.json()["settings"]["checkpoint"] == tmp_path.name
    assert info.json()["settings"]["allowed_file_dir"] == tmp_path.name
    assert str(tmp_path.parent) not in info.text
