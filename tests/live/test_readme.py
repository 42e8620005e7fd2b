"""The README's commands run as they stand, and give the answers it shows."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")


CLIENT_README = (ROOT / "client" / "README.md").read_text("utf-8")


def block(language: str, containing: str, text: str = README) -> str:
    found = [b for b in re.findall(rf"```{language}\n(.*?)```", text, re.S) if containing in b]
    assert len(found) == 1, containing
    return found[0]


def run(script: str) -> str:
    """A shell block, with this interpreter's commands in place of .venv's."""
    script = script.replace(".venv/bin/", "")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=ROOT,
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_curl_gives_the_answer_shown(server):
    shown = json.loads(block("json", '"rewards"'))
    script = block("sh", "curl").replace("http://127.0.0.1:8000", server.url)
    given = json.loads(run(script))
    assert given["fingerprint"] == shown["fingerprint"]
    assert given["rewards"][0] == pytest.approx(shown["rewards"][0], abs=1e-3)
    assert given["usage"] == shown["usage"]
    assert given.keys() == shown.keys()
    rewards = given["rewards"][0]
    assert rewards[0] == max(rewards), "the right answer comes first"


def test_the_command_prints_the_ranking_shown():
    def rows(text: str) -> list[list[str]]:
        return [line.split(maxsplit=2) for line in text.strip().splitlines()]

    given = rows(run(block("sh", "basereward score")))
    shown = rows(block("text", "It is red."))
    assert [row[2] for row in given] == [row[2] for row in shown]
    for ours, theirs in zip(given, shown, strict=True):
        assert float(ours[1]) == pytest.approx(float(theirs[1]), abs=1e-3)


@pytest.mark.parametrize("text", [README, CLIENT_README], ids=["README", "client/README"])
def test_the_client_s_lines_print_the_rewards(server, text):
    code = block("python", "score_group", text).replace("http://127.0.0.1:8000", server.url)
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    shown = json.loads(block("json", '"rewards"'))["rewards"][0]
    assert json.loads(done.stdout) == pytest.approx(shown, abs=1e-3)


def test_the_two_commands_are_make_targets():
    makefile = (ROOT / "Makefile").read_text("utf-8")
    for target in ("serve", "test"):
        assert f"make {target}" in README
        assert re.search(rf"^{target}: setup$", makefile, re.M)
