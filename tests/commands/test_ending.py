"""The process ends in time whatever its threads do."""

import asyncio
import subprocess
import sys
import threading

from service.commands.ending import Executor

LAST_S = 30.0


def test_a_busy_thread_of_asyncio_is_not_waited_for():
    ended = threading.Event()
    threading.Timer(LAST_S, ended.set).start()  # else the test would never end

    async def leave_one_behind() -> None:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(Executor())
        loop.run_in_executor(None, ended.wait)
        await asyncio.to_thread(lambda: None)

    asyncio.run(leave_one_behind())
    assert not ended.is_set()
    ended.set()


def test_work_that_waits_for_a_thread_is_still_done():
    executor, done = Executor(1), threading.Event()
    executor.submit(done.wait, 0.05)
    second = executor.submit(done.set)
    executor.shutdown()
    second.result(LAST_S)


def run(program: str) -> int:
    command = [sys.executable, "-c", "from service.commands.ending import *\n" + program]
    return subprocess.run(command, timeout=LAST_S, check=False).returncode


def test_the_process_ends_though_the_interpreter_is_held():
    assert run("end_within(0.2); sum(range(10**12))") == 1


def test_only_threads_that_python_waits_for_are_told_of():
    daemon = "threading.Thread(target=threading.Event().wait, daemon=True).start()\n"
    assert run(daemon + "os._exit(3 if threads_end() else 4)") == 3
    assert run(daemon.replace("daemon=True", "") + "os._exit(3 if threads_end() else 4)") == 4
