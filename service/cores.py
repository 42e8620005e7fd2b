"""How many cores this process may use: by its affinity, and by its control group's quota."""

import math
import os
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")


def usable_cores(root: Path = CGROUP) -> int:
    """At least 1. A pod that may use 2 of a node's 64 cores is not served faster by 64 threads: it is stopped for
    the rest of each 100 ms once they have used its quota.
    """
    quota = _quota(root)
    return max(1, min(_affinity(), math.ceil(quota) if quota else _affinity()))


def _affinity() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on this system
        return os.cpu_count() or 1


def _quota(root: Path) -> float | None:
    """Cores by the quota: of cgroup v2, or of v1; None where there is none."""
    try:
        stated, period = (root / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            stated = (root / "cpu/cpu.cfs_quota_us").read_text().strip()
            period = (root / "cpu/cpu.cfs_period_us").read_text().strip()
        except OSError:
            return None
    if not stated.isdecimal() or not period.isdecimal() or not int(stated):  # "max", or -1
        return None
    return int(stated) / int(period)
