"""Our offline limit: the model code that the server runs, on steps prepared beforehand, without HTTP, queue or planner.

As a command it is a process of its own that answers one JSON line (an Outcome) to each line (a Spec) it reads.
"""

import argparse
import dataclasses
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks.machine import PeakMemory, wait_for
from benchmarks.outcome import Outcome
from benchmarks.traffic import Call, Spec, generate
from service.commands import malloc
from service.core import Example, Item, Picture, RewardModel, Slice, Step
from service.inputs.conversation import user_turn
from service.inputs.images import ImageLimits, decode_image
from service.model.loading import load, open_source
from service.progress import byte_progress

_MAX_PIXELS = 16_777_216


class Offline:
    """Encoding and staging are not timed; what is, is one `score` after another."""

    name = "offline"

    def __init__(self, checkpoint: Path, device: str = "cpu", dtype: str = "float32") -> None:
        source = open_source(checkpoint)
        self._model: RewardModel = load(
            source, name="offline", device=device, dtype=dtype, progress=byte_progress
        )
        self._device = device

    def wait(self) -> None:
        """Loaded already."""

    def burst(self, spec: Spec, calls: Sequence[Call]) -> Outcome:  # noqa: ARG002 - Runner's
        examples = encode(self._model, calls)
        staged = [self._model.stage(step) for step in steps(examples, self._model.info.step_tokens)]
        wait_for(self._device)
        peak = PeakMemory(self._device)
        cpu, begin = time.process_time(), time.perf_counter()
        scored = [self._model.score(step) for step in staged]
        wait_for(self._device)
        seconds = time.perf_counter() - begin
        tokens, shared = sum(sum(e.lengths) for e in examples), sum(sum(s.shared) for s in staged)
        return Outcome(
            rewards=[reward for groups in scored for group in groups for reward in group],
            makespan_s=seconds,
            tail_s=seconds,
            latencies_s=[],
            tokens=tokens,
            shared_tokens=shared,
            padding_tokens=sum(s.work.tokens for s in staged) - (tokens - shared),
            cpu_s=time.process_time() - cpu,
            peak_bytes=peak.peak_bytes(),
        )

    def close(self) -> None:
        del self._model


def encode(model: RewardModel, calls: Sequence[Call]) -> list[Example]:
    """Items as the HTTP edge would make them; calls with equal context become one group."""
    limits = ImageLimits(_MAX_PIXELS)
    merged: dict[tuple[str, bytes | None], list[str]] = {}
    for call in calls:
        merged.setdefault((call.prompt, call.image), []).extend(call.responses)
    examples = []
    for (prompt, image), responses in merged.items():
        patches = {}
        if image is not None:
            raster = decode_image(image, limits)
            patches[Picture(image, "image")] = model.patchify(raster)
        turn = user_turn(prompt, list(patches), model.info.image_position)
        (example,) = model.encode([Item((turn,), tuple(responses))], patches)
        if isinstance(example, Exception):
            raise example
        examples.append(example)
    return examples


def steps(examples: Sequence[Example], budget: int) -> list[Step]:
    """In order, up to the server's token budget a step, prefixes once."""
    made: list[list[Slice]] = [[]]
    used = 0
    for example in examples:
        count = len(example.lengths)
        need = sum(example.lengths) - example.prefix_tokens * (count - 1)
        if made[-1] and used + need > budget:
            made.append([])
            used = 0
        made[-1].append(Slice(example, tuple(range(count))))
        used += need
    return [tuple(step) for step in made]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--checkpoint", type=Path, required=True)
    folder: Path = parser.parse_args().checkpoint
    malloc.keep_freed()  # as the server does
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))
    offline = Offline(folder)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for line in sys.stdin:
        spec = Spec(**json.loads(line))
        outcome = offline.burst(spec, generate(spec, folder))
        sys.stdout.write(json.dumps(dataclasses.asdict(outcome)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
