"""`python -m tests.ceilings`: hostile requests, by name and by seed, held to their ceilings on a quiet machine.

Each round measures the canaries alone and beside each request, one after the other; a request's p99 is the median of
the rounds. They may wait for one batch longer than alone: a full one of texts, or one of the request's own where these
take longer. Bodies below 1 MB are sent to a server besides whose event loop tells of long callbacks.
"""

import argparse
import random
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from tests.ceilings.bodies import Request, named
from tests.ceilings.made import MB, made
from tests.ceilings.measured import WATCHED, Measured, Server, alone_p99_s, measure, two_tenants
from tests.ceilings.watched import LONG_S, SAID

WINDOW_S = 2.0


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--made", type=int, default=32, help="requests made by hypothesis [32]")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    chosen = parser.parse_args()
    _say(f"seed {chosen.seed}")
    requests = [*named(), *(one.request() for one in made(chosen.made, chosen.seed))]
    with tempfile.TemporaryDirectory() as folder:
        over = _beside_canaries(Path(folder), requests, chosen.rounds)
        over += _callbacks(Path(folder), [r for r in requests if len(r.body) < MB])
    _say(f"{len(requests)} requests, {over} over a ceiling")
    return 1 if over else 0


def _beside_canaries(folder: Path, requests: Sequence[Request], rounds: int) -> int:
    with two_tenants(folder) as (server, _):
        full_s = statistics.median(server.full_batch_s() for _ in range(5))
        batch_s: list[list[float]] = [[] for _ in requests]
        alone: list[list[tuple[float, float]]] = [[] for _ in requests]
        beside: list[list[Measured]] = [[] for _ in requests]
        for _ in range(rounds):
            for i, request in enumerate(requests):
                batch_s[i].append(max(full_s, server.batch_s(request)))
                alone[i].append(alone_p99_s(server, WINDOW_S))
                beside[i].append(measure(server, request, WINDOW_S))
        _say(f"a full batch takes {full_s * 1000:.0f} ms; medians of {rounds} interleaved rounds")
        batches = map(statistics.median, batch_s)
        return sum(_judged(*of_one) for of_one in zip(alone, beside, batches, strict=True))


def _judged(alone: list[tuple[float, float]], beside: list[Measured], batch_s: float) -> bool:
    """Whether one request is over a ceiling; prints its line."""
    text_alone_s, picture_alone_s = (statistics.median(p) for p in zip(*alone, strict=True))
    found = replace(
        beside[0],
        statuses=frozenset().union(*(one.statuses for one in beside)),
        seconds=_median(beside, lambda one: one.seconds),
        growth_bytes=max(one.growth_bytes for one in beside),
        text_p99_s=_median(beside, lambda one: one.text_p99_s),
        picture_p99_s=_median(beside, lambda one: one.picture_p99_s),
        wrong=sum(one.wrong for one in beside),
    )
    judged = {
        "memory": found.growth_bytes > found.allowed_bytes,
        "text": found.text_p99_s > _allowed_s(text_alone_s, batch_s),
        "picture": found.picture_p99_s > _allowed_s(picture_alone_s, batch_s),
        "wrong": found.wrong > 0 or not found.statuses <= {200, 400, 413, 422},
    }
    over = [what for what, exceeded in judged.items() if exceeded]
    _say(
        f"{found.line()}; alone {text_alone_s * 1000:.0f} and {picture_alone_s * 1000:.0f} ms, "
        f"a batch {batch_s * 1000:.0f} ms" + (f"  OVER: {', '.join(over)}" if over else "")
    )
    return bool(over)


def _allowed_s(alone_s: float, batch_s: float) -> float:
    return max(3 * alone_s, alone_s + batch_s)


def _median(found: Sequence[Measured], of: Callable[[Measured], float]) -> float:
    return statistics.median(of(one) for one in found)


def _callbacks(folder: Path, requests: Sequence[Request]) -> int:
    """How many requests had a callback that held the event loop for too long."""
    over = 0
    with two_tenants(folder, *WATCHED) as (server, process):
        for request in requests:
            before = len(process.said(SAID))
            server.send(request)
            _settled(server)
            long = process.said(SAID)[before:]
            over += bool(long)
            for line in long:
                _say(f"{request.name}: {line['ms']} ms in {line['what']}")
    limit = f"{LONG_S * 1000:.0f} ms of CPU time"
    _say(f"{len(requests)} bodies below 1 MB: {over} held the event loop for over {limit}")
    return over


def _settled(server: Server) -> None:
    """An answer later, what a request left for the loop has run and been told."""
    for _ in range(2):
        server.full_batch_s()


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
