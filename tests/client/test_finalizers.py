"""Clients that nobody closes: collected anywhere, at any time, they wait for nothing."""

import subprocess
import sys

from tests.client.serving import Live

# httpcore imports sniffio in each request and each close. Where it is not installed every such import searches the
# path and holds the import lock meanwhile; a collection in there ran finalizers that joined the very threads that
# wait for the lock. Here each such search collects, so that one call in a few hung.
PROGRAM = """
import faulthandler, gc, sys
faulthandler.dump_traceback_later(100, exit=True)

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name == "sniffio":
            gc.collect()
            raise ModuleNotFoundError(name)

sys.modules.pop("sniffio", None)
sys.meta_path.insert(0, Absent())
from basereward_client import RewardClient, RewardError

failed = 0
for i in range(600):
    url = sys.argv[1] + ("/nowhere" if i % 2 else "")
    try:
        RewardClient(url, timeout=20).score_group("p", ["r"])
    except RewardError:
        failed += 1
    if i == 1:
        gc.freeze()  # what has been imported by now: most of the time would go into looking at it
print(failed)
"""


def test_600_clients_that_nobody_closes_half_of_them_failing(server: Live) -> None:
    command = (sys.executable, "-c", PROGRAM, server.url)
    done = subprocess.run(command, capture_output=True, text=True, timeout=150, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.strip() == "300"
