"""`basereward serve` with a model that obeys: a word a line on stdin makes it hang, raise, drift or be lost."""

import argparse
import logging
import sys
import threading
from unittest import mock

from service.commands import serve
from service.errors import DeviceLost, GoldenMismatch, OutOfMemory
from service.lifecycle import lifecycle
from service.sources import load
from tests.models import StandIn

FAULTS = {
    "raise": RuntimeError("shapes differ"),
    "out_of_memory": OutOfMemory("tried to allocate 2 GiB"),
    "lost": DeviceLost("CUDA error: an illegal memory access was encountered"),
}


class Faulty(StandIn):
    """A `RewardModel` whose rewards are those of `tests.models.reward`, until it is told otherwise.

    Words: hold, release; raise, out_of_memory, lost, nan, sound (again); drift; steps_s SECONDS; occupy (a thread,
    that is no daemon, for ever).
    """

    def __init__(self) -> None:
        super().__init__()
        self._fault: str | None = None
        self._step = threading.Event()  # never set
        self._step_s = 0.0

    def obey(self) -> None:
        for line in sys.stdin:
            word, *rest = line.split()
            if word in ("hold", "release"):
                getattr(self, word)()
            elif word == "drift":
                self.unready = GoldenMismatch("golden[0] gives 3, the manifest says 1", 2.0)
            elif word == "occupy":
                threading.Thread(target=self._step.wait).start()
            elif word == "steps_s":
                self._step_s = float(rest[0])
            else:
                self._fault = None if word == "sound" else word
            logging.getLogger(__name__).info("fault", extra={"word": word})

    def check(self, beat=lambda: None) -> float:
        self._held()
        return super().check(beat)

    def score(self, step):
        self._held()  # for as long as it takes; a test's own model gives up after a while
        rewards = super().score(step)
        self._step.wait(self._step_s)
        if self._fault in FAULTS:
            raise FAULTS[self._fault]
        if self._fault == "nan":
            return [[float("nan")] * len(group) for group in rewards]
        return rewards

    def _held(self) -> None:
        self._gate.wait()


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--loads-for-ever", action="store_true")
    words, flags = parser.parse_known_args()
    model = Faulty()
    if words.loads_for_ever:
        model.hold()
    threading.Thread(target=model.obey, daemon=True).start()
    given = dict(
        zip((f.removeprefix("--").replace("-", "_") for f in flags[::2]), flags[1::2], strict=True)
    )
    if not words.loads_for_ever:
        return serve.serve(load(given), model)
    with mock.patch.object(lifecycle, "load_model", return_value=model):
        return serve.serve(load(given))


if __name__ == "__main__":
    sys.exit(main())
