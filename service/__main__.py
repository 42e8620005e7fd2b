"""The command line: `basereward serve | score | checkpoint`. Errors are one line, never a traceback."""

import argparse
import sys
from collections.abc import Sequence

from service import __version__
from service.commands import checkpoint, score, serve
from service.errors import ServiceError, StartError


def main(arguments: Sequence[str] | None = None) -> int:
    parser = _parser()
    chosen = parser.parse_args(arguments)
    try:
        code: int = chosen.run(chosen)
    except (StartError, ServiceError) as error:
        sys.stderr.write(f"basereward: error: {error}\n")
        return 1
    except KeyboardInterrupt:
        return 130
    return code


def _parser() -> argparse.ArgumentParser:
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
