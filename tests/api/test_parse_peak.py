"""Reading a body takes at most 20 MiB and 20 MiB for each megabyte, whatever the JSON within the budget is made of."""

import json
import subprocess
import sys
from pathlib import Path

from tests.api.parse_peak import FIXED_MIB, MIB_A_MB

ROOT = Path(__file__).parents[2]
WORST = ("nests", "deep-lists", "deep-objects")


def test_memory_of_reading_follows_the_body():
    command = [sys.executable, "-m", "tests.api.parse_peak", *WORST]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, timeout=300)
    rows = [json.loads(line) for line in told.stdout.splitlines()]
    assert len(rows) > 80
    over = [
        (name, megabytes, grown)
        for name, megabytes, grown, _ in rows
        if grown > FIXED_MIB + MIB_A_MB * megabytes
    ]
    assert over == []
    assert "malformed_json" not in {answer for *_, answer in rows}  # each was within the budget
    assert "body_too_large" not in {answer for *_, answer in rows}
