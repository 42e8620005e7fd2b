"""`basereward score`: one prompt, some pictures, several responses, ranked; with a local model or by a server."""

import argparse
import asyncio
import base64
from pathlib import Path
from typing import Any

import httpx

from service import sources
from service.app import build_engine
from service.core import Item, Picture
from service.errors import StartError
from service.inputs.conversation import user_turn
from service.lifecycle.loading import load_model
from service.metrics import Metrics
from service.settings import Settings

TIMEOUT_S = 600.0


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "score",
        help="score responses to a prompt and print a ranking",
        description="Loads the checkpoint here, or asks the server at --url.",
    )
    parser.add_argument("--prompt", required=True)
    parser.add_argument(
        "--image", action="append", default=[], metavar="FILE", help="may be repeated"
    )
    parser.add_argument("--response", action="append", required=True, help="may be repeated")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--url", help="a running server, e.g. http://127.0.0.1:8000")
    where.add_argument("--checkpoint", help="folder or hub id; unset: the embedded demo model")
    parser.add_argument("--api-key", help="the server's key")
    for name in ("revision", "recipe", "device", "dtype"):
        parser.add_argument(f"--{name}", help=Settings.model_fields[name].description)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    pictures = [_read(Path(name)) for name in arguments.image]
    rewards = _ask(arguments, pictures) if arguments.url else _score_here(arguments, pictures)
    ranking = sorted(zip(rewards, arguments.response, strict=True), key=lambda pair: -pair[0])
    for place, (reward, response) in enumerate(ranking, start=1):
        print(f"{place:>3}. {reward:>10.4f}  {response}")  # noqa: T201 - the command's output
    return 0


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise StartError(f"cannot read the picture {path}: {error.strerror}") from None


def _ask(arguments: argparse.Namespace, pictures: list[bytes]) -> list[float]:
    item = {
        "prompt": arguments.prompt,
        "responses": arguments.response,
        "images": [base64.b64encode(data).decode() for data in pictures],
    }
    headers = {"Authorization": f"Bearer {arguments.api_key}"} if arguments.api_key else {}
    url = arguments.url.rstrip("/") + "/score"
    try:
        answer = httpx.post(url, json={"items": [item]}, headers=headers, timeout=TIMEOUT_S)
        body = answer.json()
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        raise StartError(f"no answer from {url}: {type(error).__name__}") from None
    if answer.status_code != httpx.codes.OK:
        fault = body.get("error", {})
        raise StartError(f"{url}: {fault.get('code')}: {fault.get('message')}")
    rewards: list[float] = body["rewards"][0]
    return rewards


def _score_here(arguments: argparse.Namespace, pictures: list[bytes]) -> list[float]:
    names = ("checkpoint", "revision", "recipe", "device", "dtype")
    given = {n: getattr(arguments, n) for n in names if getattr(arguments, n) is not None}
    return asyncio.run(_score_locally(sources.load(given), arguments, pictures))


async def _score_locally(
    chosen: Settings, arguments: argparse.Namespace, pictures: list[bytes]
) -> list[float]:
    model = load_model(chosen)
    engine = build_engine(chosen, Metrics())
    engine.attach(model)
    turn = user_turn(
        arguments.prompt,
        [
            Picture(data, f"--image {name}")
            for data, name in zip(pictures, arguments.image, strict=True)
        ],
        model.info.image_position,
    )
    item = Item((turn,), tuple(arguments.response), param="")
    try:
        scored = await engine.score([item], timeout_s=chosen.timeout_s, fail=True)
    finally:
        await engine.stop()
    return [outcome for outcome in scored.outcomes[0] if isinstance(outcome, float)]
