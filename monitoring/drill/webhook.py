"""The receiver that Alertmanager tells; remembers what came and when."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True, slots=True)
class Told:
    alert: str
    status: str  # firing, resolved
    at: float  # monotonic seconds
    description: str


@dataclass(slots=True)
class Inbox:
    port: int = 0
    told: list[Told] = field(default_factory=list)

    def first(self, alert: str, status: str, since: float) -> float | None:
        times = (t.at for t in self.told if (t.alert, t.status) == (alert, status) and t.at > since)
        return next(times, None)


@contextmanager
def receiving() -> Iterator[Inbox]:
    inbox = Inbox()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(inbox))
    inbox.port = server.server_address[1]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield inbox
    finally:
        server.shutdown()
        server.server_close()


def _handler(inbox: Inbox) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            for alert in message["alerts"]:
                name, text = alert["labels"]["alertname"], alert["annotations"]["description"]
                inbox.told.append(Told(name, alert["status"], time.monotonic(), text))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing: the table says it."""

    return Handler
