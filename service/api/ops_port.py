"""The second port: probes and metrics answered by a thread of their own, whatever the event loop does."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from service.api.operations import Operations


class OpsPort:
    def __init__(self, operations: Operations, host: str, port: int) -> None:
        """
        Raises:
            OSError: the port is taken.
        """
        self._server = ThreadingHTTPServer((host, port), _handler(operations))
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, name="ops", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def _handler(operations: Operations) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = 10  # seconds of a silent connection

        def do_GET(self) -> None:
            status, body, media_type = operations.by_path(self.path.partition("?")[0])
            self.send_response(status)
            self.send_header("Content-Type", media_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Probes are not logged."""

    return Handler
