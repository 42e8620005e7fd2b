"""The drill's requests to the server on loopback."""

import base64
import http.client
import json
import re
from pathlib import Path
from typing import Any

PICTURE = Path(__file__).parents[2] / "service" / "demo" / "example.png"


def ask(port: int, path: str, body: bytes | None = None) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    try:
        headers = {"Content-Type": "application/json"}
        connection.request("POST" if body else "GET", path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def status(port: int, path: str) -> int:
    """0 where nobody answers."""
    try:
        return ask(port, path)[0]
    except (OSError, http.client.HTTPException):
        return 0


def metric(name: str) -> float:
    text = ask(9000, "/metrics")[1].decode()
    match = re.search(rf"^{name} (\S+)$", text, re.MULTILINE)
    assert match is not None, text
    return float(match[1])


def score(responses: list[str]) -> tuple[int, Any]:
    item = {
        "prompt": "What colour is the circle?",
        "image": base64.b64encode(PICTURE.read_bytes()).decode(),
        "responses": responses,
    }
    code, body = ask(8000, "/score", json.dumps({"items": [item]}).encode())
    return code, json.loads(body)
