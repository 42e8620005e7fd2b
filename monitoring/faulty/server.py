"""`basereward serve` with the faulty model; each line of its input is a word to it."""

import argparse
import dataclasses
import sys
import threading
from unittest import mock

from monitoring.faulty.model import FaultyModel
from service.commands.serve import serve
from service.lifecycle import lifecycle
from service.sources import load


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m monitoring.faulty.server", description=__doc__)
    parser.add_argument("--word", default="well", help="what the model is told before it serves")
    parser.add_argument("--loads-for-ever", action="store_true")
    parser.add_argument("--gpu-bytes", type=int, default=0)
    parser.add_argument("--fingerprint", default="sha256:d7177")
    parser.add_argument("--numerics", default="float32/exact/cpu/none")
    parser.add_argument("settings", nargs="*", help="name=value")
    chosen = parser.parse_args()
    model = FaultyModel(chosen.gpu_bytes)
    model.info = dataclasses.replace(
        model.info, fingerprint=chosen.fingerprint, numerics=chosen.numerics
    )
    model.obey(chosen.word)
    threading.Thread(target=_listen, args=(model,), daemon=True).start()
    settings = load(dict(pair.split("=", 1) for pair in chosen.settings))
    if not chosen.loads_for_ever:
        return serve(settings, model)
    never = threading.Event()
    with mock.patch.object(lifecycle, "load_model", side_effect=lambda _: never.wait()):
        return serve(settings)


def _listen(model: FaultyModel) -> None:
    for line in sys.stdin:
        model.obey(line)


if __name__ == "__main__":
    sys.exit(main())
