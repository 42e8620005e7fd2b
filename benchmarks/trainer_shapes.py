"""The same rows in the two shapes trainers send: each on a connection of its own, and all of them in one call.

`python -m benchmarks.trainer_shapes`: OpenRLHF posts one row a request, every request on a fresh connection, all
of a rollout at once; LMM-R1 posts all rows in one. Both to `POST /get_reward`, against one server, in turns.
"""

import argparse
import base64
import json
import random
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import checkpoints, load
from benchmarks.pictures import picture
from benchmarks.systems import Served, System, measuring
from benchmarks.texts import Texts
from service import demo

SIBLINGS = 8
PICTURE_TOKENS = 64
TOLERANCE = 1e-4
SHOWN = "<|vision_start|>" + "<|image_pad|>" * PICTURE_TOKENS + "<|vision_end|>"
# Nothing is kept from one shape for the other.
FLAGS = ["--feature-bank-bytes", "0", "--prepared-cache-bytes", "0"]
SHAPES = ("singles", "one call")


@dataclass(frozen=True, slots=True)
class Row:
    """One row as it is sent to `/get_reward`, and as a native item."""

    query: str
    prompt: str  # a JSON chat, as LMM-R1 sends it: text, in every second prompt after a picture
    item: dict[str, object]


def rows(count: int, texts: Texts, seed: int) -> list[Row]:
    """Groups of siblings, shuffled as rollouts end."""
    made = [row for number in range(count // SIBLINGS) for row in _group(number, texts, seed)]
    random.Random(seed).shuffle(made)
    return made


def _group(number: int, texts: Texts, seed: int) -> list[Row]:
    question, content, shown = texts.text(40), [], ""
    if number % 2:
        data = base64.b64encode(picture(PICTURE_TOKENS, seed * 10_000 + number)).decode()
        content, shown = [{"type": "image", "image": f"data:image/jpeg;base64,{data}"}], SHOWN
    content.append({"type": "text", "text": question})
    chat = [{"role": "user", "content": content}]
    head = f"<|im_start|>user\n{shown}{question}<|im_end|>\n<|im_start|>assistant\n"
    answers = [texts.text(24) for _ in range(SIBLINGS)]
    return [
        Row(f"{head}{answer}<|im_end|>", json.dumps(chat), {"messages": chat, "response": answer})
        for answer in answers
    ]


def bodies(shape: str, made: Sequence[Row]) -> list[bytes]:
    pieces = [[row] for row in made] if shape == "singles" else [made]
    return [
        json.dumps(
            {
                "query": [row.query for row in piece],
                "prompts": [row.prompt for row in piece],
                "labels": [""] * len(piece),
            }
        ).encode()
        for piece in pieces
    ]


class Shapes:
    def __init__(self, served: Served, made: Sequence[Row]) -> None:
        self._served = served
        self._made = made
        self.rates: dict[str, list[float]] = {shape: [] for shape in SHAPES}
        self.worst = 0.0  # difference from the native route's rewards
        self._right = self._native()

    def run(self, shape: str) -> None:
        done = self._send("/get_reward", bodies(shape, self._made))
        rewards = [reward for body in done.bodies for reward in json.loads(body)["rewards"]]
        pairs = zip(rewards, self._right, strict=True)  # none lost, none twice
        self.worst = max(self.worst, *(abs(ours - right) for ours, right in pairs))
        self.rates[shape].append(len(rewards) / done.makespan_s)

    def _native(self) -> list[float]:
        """From `/score`, one item after the other: no step holds two of them."""
        right: list[float] = []
        for row in self._made:
            (body,) = self._send("/score", [json.dumps(row.item).encode()]).bodies
            right.append(json.loads(body)["reward"])
        return right

    def _send(self, path: str, sent: Sequence[bytes]) -> load.Load:
        return load.send(self._served.url + path, sent, load.at_once(len(sent)))


def measured(name: str, folder: Path, count: int, repetitions: int) -> Shapes:
    def command(checkpoint: Path, port: int) -> list[str]:
        serve = [sys.executable, "-m", "service", "serve", "--checkpoint", str(checkpoint)]
        return [*serve, "--port", str(port), *FLAGS]

    served = Served(System(name, command, ready="/readyz"), folder, checkpoints.CACHE / "logs")
    try:
        served.wait()
        with measuring(served.child):
            shapes = Shapes(served, rows(count, Texts(folder, seed=1), seed=1))
            for repetition in range(repetitions):
                for shape in SHAPES[:: -1 if repetition % 2 else 1]:
                    shapes.run(shape)
    finally:
        served.close()
    return shapes


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=2048)
    parser.add_argument("--repetitions", type=int, default=3)
    arguments = parser.parse_args()
    folders = {"50M": checkpoints.ensure("50m"), "demo": demo.checkpoint_folder()}
    say(f"{arguments.rows} rows, medians of {arguments.repetitions}, rewards/s")
    say("| model | singles | one call | ratio | worst difference |\n|---|---|---|---|---|")
    for name, folder in folders.items():
        shapes = measured(name, folder, arguments.rows, arguments.repetitions)
        singles, one_call = (statistics.median(shapes.rates[shape]) for shape in SHAPES)
        row = f"{singles:.1f} | {one_call:.1f} | {singles / one_call:.2f} | {shapes.worst:.1e}"
        say(f"| {name} | {row} |")
        if shapes.worst > TOLERANCE:
            raise SystemExit(f"{name}: a reward is off by {shapes.worst:g}")


if __name__ == "__main__":
    main()
