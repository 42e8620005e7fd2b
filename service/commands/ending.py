"""The end of the process: in time and with its exit code, whatever its threads do."""

import faulthandler
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

THREADS_S = 0.5  # for idle threads of pools, to see that their pool is closed


class Executor(ThreadPoolExecutor):
    """asyncio's threads. None is waited for: it may compute for minutes for a caller that is gone."""

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: ARG002
        super().shutdown(wait=False, cancel_futures=cancel_futures)


def end_within(seconds: float) -> None:
    """End the process after so long with exit code 1, if it has not ended by then. Safe in a signal handler.

    The thread that does it needs no interpreter lock; what it would say of the others could meet a full pipe.
    """
    faulthandler.dump_traceback_later(seconds, exit=True, file=os.open(os.devnull, os.O_WRONLY))


def threads_end() -> bool:
    """Whether the interpreter could end now: it waits for every thread that is no daemon."""
    until = time.monotonic() + THREADS_S
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join(max(0.0, until - time.monotonic()))
            if thread.is_alive():
                return False
    return True
