"""Inputs to a running server, and what it made of them."""

import contextlib
import http.client
import json
import random
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from tests.fuzz.bodies import Sent, make

CANARY = Sent("/score", b'{"prompt":"What colour is the sky?","responses":["Blue.","Seven."]}')
EVERY = 200  # inputs between two canaries
TIMEOUT_S = 60.0
OURS = ("internal", "model_failure", "non_finite_reward")  # never a caller's fault
HONEST = {503, 504}  # only where a run provokes them, which this one does not


@dataclass
class Found:
    """Counts, and the inputs that should not have ended as they did."""

    outcomes: Counter[tuple[str, int, str]] = field(default_factory=Counter)  # route, status, code
    slowest_s: float = 0.0
    bad: list[tuple[int, Sent, str]] = field(default_factory=list)
    canaries: int = 0

    @property
    def inputs(self) -> int:
        return self.outcomes.total()

    @property
    def scored_share(self) -> float:
        good = sum(n for (_, status, _), n in self.outcomes.items() if status == http.client.OK)
        return good / max(1, self.inputs)

    def lines(self) -> list[str]:
        rows = [
            f"{n:>8}  {status} {code:<22} {route}"
            for (route, status, code), n in sorted(self.outcomes.items())
        ]
        head = (
            f"{self.inputs} inputs, {self.scored_share:.0%} scored, {self.canaries} canaries, "
            f"slowest {self.slowest_s:.2f} s, {len(self.bad)} bad"
        )
        return [*rows, head]


class Campaign:
    """So many inputs over a few kept connections; input number N of a seed is the same in every run."""

    def __init__(self, url: str, seed: int, inputs: int, connections: int = 4) -> None:
        self._address = urlsplit(url)
        self._seed = seed
        self._numbers = iter(range(inputs))
        self._connections = connections
        self._lock = threading.Lock()
        self._expected: bytes | None = None
        self.found = Found()

    def run(self) -> Found:
        with contextlib.closing(self._connect()) as connection:
            self._expected = self._rewards(connection)
        threads = [threading.Thread(target=self._work) for _ in range(self._connections)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return self.found

    def _work(self) -> None:
        connection = self._connect()
        while (number := self._next()) is not None:
            sent = make(random.Random(f"{self._seed}-{number}"))
            begun = time.perf_counter()
            try:
                status, body = self._ask(connection, sent)
                outcome = status, _code(status, body)
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                connection = self._connect()
                outcome = 0, type(error).__name__
            self._note(number, sent, outcome, time.perf_counter() - begun)
            if number % EVERY == 0:
                self._check_canary(number, connection)
        connection.close()

    def _next(self) -> int | None:
        with self._lock:
            return next(self._numbers, None)

    def _connect(self) -> http.client.HTTPConnection:
        host, port = self._address.hostname, self._address.port
        assert host is not None
        return http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)

    @staticmethod
    def _ask(connection: http.client.HTTPConnection, sent: Sent) -> tuple[int, bytes]:
        headers = {"Content-Type": sent.content_type, **sent.headers}
        connection.request("POST", sent.path, sent.body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read()

    def _note(self, number: int, sent: Sent, outcome: tuple[int, str], seconds: float) -> None:
        status, code = outcome
        found = self.found
        with self._lock:
            found.outcomes[sent.path.partition("?")[0], status, code] += 1
            found.slowest_s = max(found.slowest_s, seconds)
            if status == 0 or status in HONEST or code in OURS:
                found.bad.append((number, sent, f"{status} {code}"))

    def _check_canary(self, number: int, connection: http.client.HTTPConnection) -> None:
        rewards = self._rewards(connection)
        with self._lock:
            self.found.canaries += 1
            if rewards != self._expected:
                self.found.bad.append((number, CANARY, f"the canary gives {rewards!r}"))

    def _rewards(self, connection: http.client.HTTPConnection) -> bytes:
        """To three places: company moves a reward by less."""
        status, body = self._ask(connection, CANARY)
        if status != http.client.OK:
            return body
        return repr([round(x, 3) for x in json.loads(body)["rewards"][0]]).encode()


def _code(status: int, body: bytes) -> str:
    if status == http.client.OK:
        return ""
    try:
        return str(json.loads(body)["error"]["code"])
    except (ValueError, LookupError, TypeError):
        return "no error of ours"
