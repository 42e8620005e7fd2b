"""A page that stands for the GPU exporter's, with one GPU and its last XID."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from monitoring.walkthrough.case import Case
from monitoring.walkthrough.pod import Pod


@contextmanager
def exporter(port: int) -> Iterator[Case]:
    """The case that has it show an XID, and then none."""
    xids = [0]
    server = Exporter(("127.0.0.1", port), _handler(xids))
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def an_xid(_: list[Pod]) -> Iterator[str]:
        xids[0] = 79
        yield "the exporter shows XID 79"
        xids[0] = 0
        yield "the GPU is reset"

    try:
        yield Case(an_xid, ("GpuXid",))
    finally:
        server.shutdown()
        server.server_close()


class Exporter(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """Prometheus hung up on a busy machine; it asks again."""


def _handler(xids: list[int]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            labels = 'gpu="0",Hostname="node-1",namespace="reward",pod="reward-server-0"'
            body = f"# TYPE DCGM_FI_DEV_XID_ERRORS gauge\nDCGM_FI_DEV_XID_ERRORS{{{labels}}} {xids[0]}\n"
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None:
            """Nothing."""

    return Handler
