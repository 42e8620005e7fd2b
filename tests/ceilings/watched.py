"""`python -m tests.ceilings.watched serve …`: the server, whose event loop tells each callback that holds it too long.

By the loop's own CPU time: what other processes take of a core is not the callback's. On asyncio's loop, whose
callbacks can be wrapped; uvloop's cannot.
"""

import asyncio
import json
import sys
import time

LONG_S = 0.020
SAID = "a callback holds the event loop"


def watch() -> None:
    sys.modules["uvloop"] = None  # type: ignore[assignment]  # uvicorn then takes asyncio's
    run = asyncio.Handle._run  # type: ignore[attr-defined]

    def timed(handle: asyncio.Handle) -> None:
        begun = time.thread_time()
        run(handle)
        took_s = time.thread_time() - begun
        if took_s > LONG_S:
            line = {"message": SAID, "ms": round(took_s * 1000, 1), "what": repr(handle)[:300]}
            sys.stderr.write(json.dumps(line) + "\n")

    asyncio.Handle._run = timed  # type: ignore[attr-defined]


if __name__ == "__main__":
    from service.__main__ import main

    watch()
    sys.exit(main())
