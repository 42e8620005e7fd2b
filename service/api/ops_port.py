"""The second port: probes and metrics answered by a thread of their own, whatever the event loop does."""

import logging
import socket
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from service.api.operations import Operations, Probe
from service.errors import StartError

log = logging.getLogger(__name__)


class OpsPort:
    def __init__(self, operations: Operations, host: str, port: int) -> None:
        self._operations = operations
        self._address = (host, port)
        self._server: ThreadingHTTPServer | None = None
        self._scraped = threading.Event()

    def bind(self) -> ThreadingHTTPServer:
        """Take the port.

        Raises:
            StartError: it cannot be had.
        """
        if self._server is None:
            try:
                server = Server6 if ":" in self._address[0] else Server
                self._server = server(self._address, _handler(self._answer))
            except OSError as error:
                reason = (error.strerror or "the address cannot be used").lower()
                where = "{}:{}".format(*self._address)
                raise StartError(f"cannot listen on ops port {where}: {reason}") from None
        return self._server

    def start(self) -> None:
        server = self.bind()
        threading.Thread(target=server.serve_forever, name="ops", daemon=True).start()
        log.info("ops port", extra={"port": server.server_address[1]})

    def wait_for_scrape(self, within_s: float) -> None:
        """Until the metrics are asked for once more: what ended the process would else be seen by nobody."""
        self._scraped.clear()
        self._scraped.wait(within_s)

    def stop_waiting(self) -> None:
        self._scraped.set()

    def _answer(self, path: str) -> Probe:
        answer = self._operations.by_path(path)
        if path == "/metrics":
            self._scraped.set()
        return answer

    def stop(self) -> None:
        server = self.bind()
        server.shutdown()
        server.server_close()


class Server(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        log.debug("ops port: whoever asked hung up")


class Server6(Server):
    address_family = socket.AF_INET6


def _handler(answer: Callable[[str], Probe]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = 10  # seconds of a silent connection

        def do_GET(self) -> None:
            status, body, media_type = answer(self.path.partition("?")[0])
            self.send_response(status)
            self.send_header("Content-Type", media_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Probes are not logged."""

    return Handler
