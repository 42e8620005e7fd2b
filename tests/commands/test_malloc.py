"""What a step frees stays with the process for the next one."""

import ctypes
import subprocess
import sys

import pytest

SCRIPT = """
import resource, sys, threading
import torch
from service.commands import malloc

def step():
    hidden = torch.ones(2_600_000)
    for _ in range(3):  # layers, and what some thousand tokens need in each
        turned, value, out = torch.ones(3_000_000), torch.ones(500_000), torch.ones(2_500_000)
        del turned, value
        inner, other = torch.ones(900_000), torch.ones(900_000)
        del inner, other, out

def work():
    step()
    begin = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        step()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - begin)

if sys.argv[1] == "keep":
    malloc.keep_freed()
thread = threading.Thread(target=work)
thread.start()
thread.join()
"""


def new_pages(mode):
    command = [sys.executable, "-c", SCRIPT, mode]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


@pytest.mark.skipif(
    not hasattr(ctypes.CDLL(None), "mallopt"), reason="another C library than glibc"
)
def test_freed_blocks_are_used_again():
    assert new_pages("keep") < 0.2 * new_pages("as usual")
