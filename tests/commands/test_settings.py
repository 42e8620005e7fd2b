"""Settings gone wrong: the line names the setting, what it must be, what was given, and what was probably meant."""

import pytest

from service.__main__ import main
from service.errors import StartError
from service.sources import load

NOT_TAKEN = {
    "otlp_endpoint": ("foo", "must be an address like http://collector:4318 (given: 'foo')"),
    "allowed_file_dir": ("/nope", "there is no such folder (given: '/nope')"),
    "max_batch_tokens": ("1", "Input should be greater than or equal to 32 (given: '1')"),
    "max_image_pixels": ("16k", "unable to parse string as an integer (given: '16k')"),
    "timeout_s": ("5s", "unable to parse string as a number (given: '5s')"),
    "cors_origins": ("a.example", "(given: 'a.example')"),
    "port": ("65536", "Input should be less than or equal to 65535 (given: '65536')"),
    "device": ("gpu", "Input should be 'auto', 'cuda' or 'cpu' (given: 'gpu')"),
    "tls_cert_file": ("x", "tls_cert_file and tls_key_file go together"),
    "tls_key_file": ("x", "tls_cert_file and tls_key_file go together (given: 'x')"),
}


@pytest.mark.parametrize("name", NOT_TAKEN)
def test_what_a_setting_does_not_take(name):
    value, words = NOT_TAKEN[name]
    named = "tls_key_file" if name == "tls_cert_file" else name
    variable = f"BASEREWARD_{named.upper()}"
    for flags, environ in (({name: value}, {}), ({}, {f"BASEREWARD_{name.upper()}": value})):
        with pytest.raises(StartError) as refused:
            load(flags, environ)
        line = str(refused.value)
        assert line.startswith(f"setting {named!r} (as a variable: {variable}): ")
        assert line.endswith(words)


def test_a_long_value_is_cut():
    with pytest.raises(StartError) as refused:
        load({"port": "9" * 4000}, {})
    assert len(str(refused.value)) < 250


def test_a_key_is_never_repeated():
    with pytest.raises(StartError) as refused:
        load({}, {"BASEREWARD_API_KYE": "sesame"})
    assert "did you mean 'api_key'?" in str(refused.value)
    assert "sesame" not in str(refused.value)


MEANT = {"timeout": "timeout_s", "prt": "port", "max_batch_tokes": "max_batch_tokens"}


@pytest.mark.parametrize("name", MEANT)
def test_an_unknown_setting_is_told_what_was_meant(name, capsys):
    with pytest.raises(StartError, match=f"did you mean {MEANT[name]!r}"):
        load({}, {f"BASEREWARD_{name.upper()}": "1"})
    if name != "timeout":  # which argparse takes for the whole flag
        with pytest.raises(SystemExit):
            main(["serve", "--" + name.replace("_", "-"), "sesame"])
        written = capsys.readouterr().err
        assert f"did you mean --{MEANT[name].replace('_', '-')}?" in written
        assert "sesame" not in written


def test_a_flag_is_not_taken_for_another_commands(capsys):
    for flag, written in {
        "--promt": "did you mean --prompt?\n",
        "--drain": "arguments: --drain\n",
    }.items():
        with pytest.raises(SystemExit):
            main(["score", "--prompt", "p", "--response", "r", flag, "x"])
        assert written in capsys.readouterr().err


def test_one_that_resembles_none_points_to_the_page():
    with pytest.raises(StartError, match=r"unknown setting 'xyz' .*; see docs/settings.md"):
        load({"xyz": 1}, {})
