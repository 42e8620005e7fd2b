"""`basereward serve`: settings to a listening server, and its end to an exit code."""

import argparse
import asyncio
import gc
import ipaddress
import logging
import math
import os
import socket
import sys
import tempfile
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn

from service import demo, log, sources
from service.api.auth import Keyring
from service.api.listener import address, listen
from service.app import create_app
from service.commands import malloc
from service.commands.acceptor import AT_ONCE, Acceptor, allow_files
from service.commands.ending import Executor, end_within, threads_end
from service.commands.protocol import Patience, Protocol
from service.commands.tls import Tls
from service.core import RewardModel
from service.engine import Turns
from service.errors import StartError
from service.lifecycle import ANSWER_S, Lifecycle
from service.model.loading import open_source
from service.settings import Settings

HURRY_S = 1.0  # for answers that are on their way, when told to stop at once
LEAVE_S = 3.0  # beyond all that is waited for: whatever still holds the process then is left behind
SWITCH_S = 0.0002
# A full collection stops every thread: 0.5 s with 4,096 requests waiting, and they set it off again and again.
# So all objects are looked at seldom while requests are answered, and young ones in small lots: those of 1,000
# held the event loop for up to 15 ms, those of 250 for 3 ms, at the same cost in all.
GC_THRESHOLDS = (250, 2, 5_000)
IDLE_TICKS = 50
RENEW_TICKS = 100  # 10 s


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "serve",
        help="serve a checkpoint over HTTP; without one, the embedded demo model",
        description="Every flag is also a variable (BASEREWARD_…) and a key of the --config file.",
    )
    parser.add_argument("--config", metavar="FILE", help="TOML file of settings")
    for name, field in Settings.model_fields.items():
        flag = "--" + name.replace("_", "-")
        default = field.default if field.default not in (None, ()) else "unset"
        text = f"{field.description} [{default}]".replace("%", "%%")
        if field.annotation is bool:
            parser.add_argument(
                flag, action=argparse.BooleanOptionalAction, default=None, help=text
            )
        else:
            parser.add_argument(flag, metavar=name.upper(), default=None, help=text)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    flags = {k: v for k, v in vars(arguments).items() if k in (*Settings.model_fields, "config")}
    return serve(sources.load(flags))


def serve(chosen: Settings, model: RewardModel | None = None) -> int:
    """Serve until told to stop: the exit code. With `model` that one, else what the settings name.

    Raises:
        StartError: before anything listens.
    """
    log.configure(chosen.log_level)
    _check_temporary_folder()
    source = chosen.checkpoint or str(demo.checkpoint_folder())
    if (
        model is None and Path(source).exists()
    ):  # a wrong folder is said at once; a hub id may take long
        open_source(source, chosen.revision, chosen.recipe)
    tls = _tls(chosen)
    app = create_app(chosen, model)
    lifecycle: Lifecycle = app.state.lifecycle
    lifecycle.bind()
    listener = listen(chosen.host, chosen.port, chosen.backlog)
    config = uvicorn.Config(
        app,
        http="httptools",
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=math.ceil(chosen.keep_alive_s),
        timeout_graceful_shutdown=math.ceil(chosen.drain_s + ANSWER_S),
    )
    # How long a thread of pure Python keeps the interpreter from one that waits for it. The event loop lets go of
    # it with every read and write of a socket: at the usual 5 ms, a hundred of them would cost half a second.
    sys.setswitchinterval(SWITCH_S)
    gc.set_threshold(*GC_THRESHOLDS)
    malloc.keep_freed()
    server = Server(config, chosen, lifecycle, listener, app.state.keyring, tls)
    url = f"{'https' if tls else 'http'}://{address(listener)}"
    logging.getLogger(__name__).info("listening", extra={"url": url})
    if not chosen.needs_key and not _is_loopback(listener):
        logging.getLogger(__name__).warning(
            "no API key is set: whoever reaches this address may use the server; set api_key or api_key_file"
        )
    server.run(sockets=[listener])  # it closes it
    return _ended(lifecycle)


def _ended(lifecycle: Lifecycle) -> int:
    """The exit code: 0 if everything that was accepted was answered, by a score or an error of its own.

    Raises:
        StartError: the server gave up by itself.
    """
    lost, failure = lifecycle.lost_responses, lifecycle.failure
    if failure is None or not lifecycle.ended:
        told = {"lost_responses": lost} if lost else {}
        logging.getLogger(__name__).info("stopped", extra=told)
    code = 1 if lost or failure is not None else 0
    if not log.flush() or not lifecycle.ended or not threads_end():
        # A thread that is in torch when the interpreter ends, that writes to a pipe which nobody reads, or that
        # decodes for a caller who is gone, has the process end with "terminate called", or never.
        os._exit(code)
    if failure is not None:
        raise StartError(failure)
    return code


class Server(uvicorn.Server):
    """uvicorn that starts draining the moment it is told to stop, and then ends with exit code 0."""

    def __init__(
        self,
        config: uvicorn.Config,
        chosen: Settings,
        lifecycle: Lifecycle,
        listener: socket.socket,
        keyring: Keyring,
        tls: Tls | None,
    ) -> None:
        super().__init__(config)
        self._chosen = chosen
        self._tls = tls
        self._keyring = keyring
        self._lifecycle = lifecycle
        self._listener = listener
        self._collected_at = 0  # requests
        self._turns = Turns(AT_ONCE)  # of requests that begin
        self._patience = Patience(chosen.body_timeout_s, chosen.answer_timeout_s)
        self._executor = Executor()
        lifecycle.on_failure = self._stop
        lifecycle.on_ready = _freeze

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:  # noqa: ARG002
        asyncio.get_running_loop().set_default_executor(self._executor)
        await super().startup(sockets=[])
        connections = self.server_state.connections
        most = min(allow_files(), self._chosen.max_connections or sys.maxsize)
        acceptor = Acceptor(self._listener, self._protocol, connections, most, self._tls)
        self.servers.append(acceptor)  # type: ignore[arg-type]  # closed like those

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # Other threads than those that may all be busy for callers who are gone.
        asyncio.get_running_loop().set_default_executor(Executor())
        self._executor.shutdown()
        await super().shutdown(sockets)

    async def on_tick(self, counter: int) -> bool:
        """Every 0.1 s. Full collections wait for a moment in which nobody waits for them."""
        state = self.server_state
        idle = counter % IDLE_TICKS == 0 and not state.tasks
        if idle and state.total_requests != self._collected_at:
            self._collected_at = state.total_requests
            gc.collect()
            malloc.trim()
        if counter % RENEW_TICKS == 0:
            self._renew()
        return await super().on_tick(counter)

    def _renew(self) -> None:
        """Keys and certificates that were exchanged beside the running server."""
        problems = [self._keyring.renew(), self._tls.renew() if self._tls else None]
        for problem in filter(None, problems):
            logging.getLogger(__name__).error("what stood before is still used: %s", problem)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002
        # Not uvicorn's own: it raises the signal again at the end, and a drained server would look killed.
        if self.should_exit:
            end_within(HURRY_S + LEAVE_S)
            self._lifecycle.hurry(HURRY_S, self._force)
        else:
            end_within(self._chosen.drain_s + ANSWER_S + LEAVE_S)
        self.should_exit = True
        self._lifecycle.drain()

    def _force(self) -> None:
        self.force_exit = True

    def _protocol(self) -> Protocol:
        return Protocol(
            self._turns,
            self._patience,
            self._chosen.max_header_bytes,
            config=self.config,
            server_state=self.server_state,
            app_state=self.lifespan.state,
        )

    def _stop(self) -> None:
        self.should_exit = True


def _freeze() -> None:
    """What the start made stays; without it a full collection looks at a tenth of the objects."""
    gc.collect()
    gc.freeze()


def _tls(chosen: Settings) -> Tls | None:
    if chosen.tls_cert_file is None or chosen.tls_key_file is None:
        return None
    return Tls(chosen.tls_cert_file, chosen.tls_key_file, chosen.body_timeout_s)


def _check_temporary_folder() -> None:
    """Torch looks for one while it is imported."""
    try:
        tempfile.gettempdir()
    except FileNotFoundError:
        message = "no folder for temporary files can be written; name one in TMPDIR"
        raise StartError(message) from None


def _is_loopback(listener: socket.socket) -> bool:
    return ipaddress.ip_address(listener.getsockname()[0]).is_loopback
