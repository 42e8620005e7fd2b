"""`basereward serve` with the drill's model; each line of its input is the model's next mood."""

import argparse
import sys
import threading
from typing import cast

from monitoring.drill.model import MOODS, DrillModel, Mood
from service.commands.serve import serve
from service.settings import Settings

HANG_TIMEOUT_S = 20.0  # instead of 120, so that /livez gives up within the drill


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m monitoring.drill.server", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--ops-port", type=int, required=True)
    chosen = parser.parse_args()
    model = DrillModel()
    threading.Thread(target=_listen, args=(model,), daemon=True).start()
    settings = Settings(
        port=chosen.port,
        ops_port=chosen.ops_port,
        hang_timeout_s=HANG_TIMEOUT_S,
        drain_s=2.0,
        max_batch_responses=8,
    )
    return serve(settings, model)


def _listen(model: DrillModel) -> None:
    for line in sys.stdin:
        assert line.strip() in MOODS
        model.become(cast(Mood, line.strip()))


if __name__ == "__main__":
    sys.exit(main())
