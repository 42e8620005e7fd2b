"""The clients that adapters keep: one a process for equal settings, of whatever kind these are."""

import copy

from basereward_client import AsyncRewardClient
from basereward_client.adapters.scoring import async_client, client

TWO = ["http://one:8000", "http://two:8000"]
SETTINGS = {"transform": {"kind": "sigmoid", "temperature": 2.0}, "on_error": "none"}


def test_equal_settings_share_a_client() -> None:
    one = client(TWO, **SETTINGS)
    assert client(list(TWO), **copy.deepcopy(SETTINGS)) is one
    assert client(TWO, **SETTINGS | {"on_error": "raise"}) is not one
    assert client(TWO[0], **SETTINGS) is not one
    assert isinstance(async_client(TWO, **SETTINGS), AsyncRewardClient)


def test_several_urls_in_a_list_or_with_commas() -> None:
    assert list(client(TWO).urls) == list(client(", ".join(TWO)).urls) == TWO
