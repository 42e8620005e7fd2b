"""Clients that keep asking for rewards, whatever the server answers."""

import itertools
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

CLIENTS = 6
PAUSE_S = 0.05
PATIENCE_S = 120.0


@contextmanager
def load(url: str) -> Iterator[None]:
    """Groups of four from several threads, as long as the block runs."""
    over = threading.Event()
    threads = [
        threading.Thread(target=_ask, args=(url, client, over), daemon=True)
        for client in range(CLIENTS)
    ]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()


def _ask(url: str, client: int, over: threading.Event) -> None:
    with httpx.Client(base_url=url, timeout=PATIENCE_S, trust_env=False) as http:
        for number in itertools.count():
            if over.wait(PAUSE_S):
                return
            responses = [f"Answer {client}-{number}-{i}{'.' * i}" for i in range(4)]
            body = {"prompt": f"Question {number}", "responses": responses, "on_error": "null"}
            try:
                http.post("/score", json=body, headers={"X-Run": "drill"})
            except httpx.HTTPError:
                over.wait(0.5)  # the server is away for a moment
