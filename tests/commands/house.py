"""An application behind the public port's protocol, with a transport that notes what is written, or a socket."""

import asyncio
from unittest import mock

import uvicorn
from uvicorn.server import ServerState

from service.commands.protocol import Patience, Protocol
from service.engine import Turns

REQUEST = b"POST /score HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody"


class House:
    """An application that notes in which round of the loop each of its requests began."""

    def __init__(self, at_once: int) -> None:
        self.round, self.began, self.bodies = 0, [], []
        self.config = uvicorn.Config(self._app, interface="asgi3", log_config=None)
        self.config.load()
        self.refuses = False  # before it has read anything
        self.answer = b""
        self.scopes = []
        self.turns, self.state = Turns(at_once), ServerState()

    def protocol(self, max_header_bytes: int = 64 * 2**10, answer_s: float = 60.0) -> Protocol:
        of_uvicorn = {"config": self.config, "server_state": self.state, "app_state": {}}
        return Protocol(self.turns, Patience(30.0, answer_s), max_header_bytes, **of_uvicorn)

    def connect(self) -> tuple[Protocol, mock.Mock]:
        protocol = self.protocol()
        transport = mock.Mock(**{"is_closing.return_value": False})
        transport.get_extra_info.return_value = None
        protocol.connection_made(transport)
        return protocol, transport

    async def rounds(self, count: int) -> None:
        for _ in range(count):
            self.round += 1
            await asyncio.sleep(0)

    async def _app(self, scope, receive, send):
        self.began.append(self.round)
        self.scopes.append(scope)
        if self.refuses:
            await send({"type": "http.response.start", "status": 401, "headers": []})
            await send({"type": "http.response.body"})
            return
        body, more = b"", True
        while more:
            message = await receive()
            if "refusal" in scope["state"]:
                break
            body, more = body + message["body"], message["more_body"]
        self.bodies.append(body)
        headers = [(b"content-length", b"%d" % len(self.answer))] if self.answer else []
        status = 200 if self.answer else 204
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": self.answer})
