"""The command line: `basereward serve | score | checkpoint`. Errors are one line, never a traceback."""

import argparse
import os
import signal
import sys
from collections.abc import Sequence

from service import __version__, sources
from service.errors import ServiceError, StartError


def main(arguments: Sequence[str] | None = None) -> int:
    if os.getpid() == 1:  # of a container: the kernel drops signals that it does not handle
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    sources.set_library_defaults(sys.argv[1:] if arguments is None else arguments)
    parser = _parser()
    chosen, unknown = parser.parse_known_args(arguments)
    if unknown:
        parser.error(f"unrecognized arguments: {_with_hint(unknown[0].partition('=')[0], chosen)}")
    try:
        code: int = chosen.run(chosen)
    except (StartError, ServiceError) as error:
        sys.stderr.write(f"basereward: error: {error}\n")
        return 1
    except KeyboardInterrupt:
        return 130
    return code


def _with_hint(flag: str, chosen: argparse.Namespace) -> str:
    """An unknown flag, and the command's own that was probably meant. What follows it may be a secret."""
    name = flag.removeprefix("--").replace("-", "_")
    meant = sources.nearest(name, vars(chosen)) if flag.startswith("--") else None
    return f"{flag}; did you mean --{meant.replace('_', '-')}?" if meant else flag


def _parser() -> argparse.ArgumentParser:
    from service.commands import checkpoint, score, serve  # two seconds of imports

    parser = argparse.ArgumentParser(
        prog="basereward", description="Serve, score with and inspect BaseReward checkpoints."
    )
    parser.add_argument("--version", action="version", version=f"basereward {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in (serve, score, checkpoint):
        command.add_parser(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
