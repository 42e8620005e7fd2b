"""What importing the package costs: little, and nothing heavy, nor httpx before the first call."""

import subprocess
import sys
from pathlib import Path

import basereward_client

HEAVY = ("PIL", "numpy", "torch", "httpx", "asyncio")
LIMIT_S = 0.1


def _fresh(code: str) -> str:
    command = [sys.executable, "-c", code]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_nothing_heavy_is_imported() -> None:
    code = f"import sys, basereward_client; print([m for m in {HEAVY} if m in sys.modules])"
    assert _fresh(code).strip() == "[]"


def test_the_import_takes_less_than_a_tenth_of_a_second() -> None:
    """Of processor time, the best of several: what else runs on the machine is not ours."""
    code = "import time; t = time.process_time(); import basereward_client; print(time.process_time() - t)"
    best = min(float(_fresh(code)) for _ in range(5))
    assert best < LIMIT_S


def test_pictures_need_pillow_only_where_they_are_pillow_s() -> None:
    """Files are sent without it."""
    code = (
        "import sys; from basereward_client.pictures import Pictures; "
        "Pictures(None).ref(b'a file'); print('PIL' in sys.modules)"
    )
    assert _fresh(code).strip() == "False"


def test_the_public_names_are_those_of_the_package() -> None:
    names = {name for name in vars(basereward_client) if name[0].isupper()}
    assert names == {
        *("AsyncRewardClient", "BadRequest", "DeadlineExceeded", "FingerprintChanged"),
        *("InvalidAnswer", "InvalidPicture", "ItemError", "NotReady", "RewardClient"),
        *("RewardError", "Rewards", "Scheme", "ServerFailure", "Timing", "Unauthorized"),
        "Unavailable",
    }


def test_the_package_is_typed() -> None:
    assert (Path(basereward_client.__file__).parent / "py.typed").exists()
