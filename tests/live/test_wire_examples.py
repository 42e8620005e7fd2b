"""Every request in docs/api.md is sent to the real server, and every answer shown is the one that it gives.

`python -m tests.live.test_wire_examples URL` writes the answers of a server into the page.
"""

import json
import re
import subprocess
import sys

import httpx
import pytest

from tests.promises.markdown import ROOT, fences, page
from tests.promises.test_routes_documented import documented_routes

PATH = ROOT / "docs" / "api.md"
PAGE = page("docs/api.md")
_PAIR = re.compile(
    r"^```json POST (\S+)\n(.*?)^```\n\n^```json answer\n(.*?)^```$", re.MULTILINE | re.DOTALL
)
PAIRS = _PAIR.findall(PAGE)
# Those of another run, or of this one.
VOLATILE = {"id", "created", "fingerprint", "model_version"}


def same(ours, shown):
    """Equal, but for what is of one run, and the last digits of numbers."""
    if isinstance(shown, dict):
        assert ours.keys() == shown.keys()
        for key in shown.keys() - VOLATILE:
            same(ours[key], shown[key])
    elif isinstance(shown, list):
        assert len(ours) == len(shown)
        for one, other in zip(ours, shown, strict=True):
            same(one, other)
    else:
        assert ours == (pytest.approx(shown, abs=1e-3) if isinstance(shown, float) else shown)


@pytest.mark.parametrize(("path", "body", "shown"), PAIRS, ids=[p for p, _, _ in PAIRS])
def test_the_answer_shown_is_given(client, path, body, shown):
    answer = client.post(path, json=json.loads(body))
    assert answer.status_code == 200, answer.text
    same(answer.json(), json.loads(shown))


@pytest.mark.parametrize("body", fences(PAGE, "json request"))
def test_native_requests_are_answered(client, body):
    answer = client.post("/score", json=json.loads(body))
    assert answer.status_code == 200, answer.text
    assert answer.json()["errors"] == []


@pytest.mark.parametrize("script", fences(PAGE, "bash"))
def test_commands_are_answered(server, script):
    command = script.replace("http://127.0.0.1:8000", server.url)
    done = subprocess.run(
        ["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    assert json.loads(done.stdout)["rewards"]


def test_every_route_has_an_example():
    shown = {path.partition("?")[0].replace("basereward", "{name}") for path, _, _ in PAIRS}
    # The native ones, an alias, and one that takes nothing.
    shown |= {"/score", "/v1/score", "/get_reward_mllm", "/seed_session"}
    assert shown == {path for method, path in documented_routes() if method == "POST"}


def written(url: str) -> str:
    """The page with the answers of the server at `url`."""

    def answered(match: re.Match[str]) -> str:
        path, body, _ = match.groups()
        answer = httpx.post(url + path, json=json.loads(body)).raise_for_status()
        shown = json.dumps(_rounded(answer.json()))
        return f"```json POST {path}\n{body}```\n\n```json answer\n{shown}\n```"

    return _PAIR.sub(answered, PAGE)


def _rounded(value):
    if isinstance(value, dict):
        return {key: _rounded(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_rounded(inner) for inner in value]
    return round(value, 4) if isinstance(value, float) else value


if __name__ == "__main__":
    PATH.write_text(written(sys.argv[1]), "utf-8")
