"""`basereward score`: the same ranking here and by a server, and one line for every error."""

import base64
import json

import httpx
import pytest

from service import demo
from service.__main__ import main
from service.commands import score

PICTURE = str(demo.example_picture())
WORDS = ["score", "--image", PICTURE, "--prompt", "What colour is the circle?"]
RESPONSES = ["--response", "Blue.", "--response", "It is red.", "--response", "Green."]


def ranking(printed: str) -> list[tuple[float, str]]:
    rows = [line.split(maxsplit=2) for line in printed.splitlines()]
    assert [row[0] for row in rows] == [f"{i}." for i in range(1, len(rows) + 1)]
    return [(float(row[1]), row[2]) for row in rows]


def test_the_embedded_model_ranks_the_right_answer_first(capsys):
    assert main([*WORDS, *RESPONSES]) == 0
    ranked = ranking(capsys.readouterr().out)
    assert ranked[0][1] == "It is red."
    assert [reward for reward, _ in ranked] == sorted((r for r, _ in ranked), reverse=True)


def test_a_server_is_asked_in_one_group(capsys, monkeypatch):
    asked = []

    def post(url, json, headers, timeout):
        asked.append((url, json, headers))
        return httpx.Response(200, json={"rewards": [[0.5, 2.5, -1.0]]})

    monkeypatch.setattr(score.httpx, "post", post)
    assert main([*WORDS, *RESPONSES, "--url", "http://host:1/", "--api-key", "sesame"]) == 0
    (url, body, headers), *_ = asked
    assert (url, headers) == ("http://host:1/score", {"Authorization": "Bearer sesame"})
    (item,) = body["items"]
    assert item["responses"] == ["Blue.", "It is red.", "Green."]
    assert base64.b64decode(item["images"][0]) == demo.example_picture().read_bytes()
    assert [text for _, text in ranking(capsys.readouterr().out)] == [
        "It is red.",
        "Blue.",
        "Green.",
    ]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--image", "nowhere.png", "--prompt", "p"], "cannot read the picture nowhere.png"),
        (["--image", __file__, "--prompt", "p"], "not a JPEG, PNG or WebP"),
        (["--prompt", "p", "--checkpoint", "./nowhere"], "no checkpoint folder './nowhere'"),
        (
            ["--prompt", "p", "--url", "http://127.0.0.1:9"],
            "no answer from http://127.0.0.1:9/score",
        ),
        (["--prompt", "p", "--device", "tpu"], "device"),
    ],
)
def test_errors_are_one_line(capsys, arguments, line):
    assert main(["score", *arguments, "--response", "r"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("basereward: error: ")
    assert line in said
    assert said.count("\n") == 1


def test_a_refusing_servers_error_is_shown(capsys, monkeypatch):
    error = {"error": {"code": "unauthorized", "message": "a valid API key is needed"}}
    answer = httpx.Response(401, content=json.dumps(error))
    monkeypatch.setattr(score.httpx, "post", lambda *_, **__: answer)
    assert main(["score", "--prompt", "p", "--response", "r", "--url", "http://host"]) == 1
    assert "unauthorized: a valid API key is needed" in capsys.readouterr().err
