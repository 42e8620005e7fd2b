"""The machine and the software of a run, its matmul ceiling and its device memory; no system is measured here."""

import os
import platform
import subprocess
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from benchmarks.flops import Shape

_PACKAGES = ("torch", "transformers", "fastapi", "uvicorn", "numpy", "pillow")
_ROOT = Path(__file__).parents[1]
_ROUNDS = 8
_QUIET_S, _QUIET_SHARE, _MOMENT_S = 3.0, 0.2, 0.25  # LitServe polls with a quarter of a core


def describe(device: str) -> dict[str, str]:
    """Named facts for the report; nothing that names the host or its folders."""
    facts = {"date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()), "commit": commit()}
    facts |= {"processor": _processor(), "cores": str(os.cpu_count())}
    if device == "cuda":
        facts["accelerator"] = torch.cuda.get_device_name()
    facts["python"] = platform.python_version()
    return facts | {name: found for name in _PACKAGES if (found := _version(name))}


def commit() -> str:
    """The commit, marked when the tree differs from it; "unknown" without git."""
    try:
        short = _git("rev-parse", "--short", "HEAD")
        return short + (" + changes" if _git("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def ceiling(shape: Shape, device: str, dtype: torch.dtype, tokens: int = 2048) -> float:
    """FLOP/s of the fastest of the language model's own matmuls, alone and warm, on `tokens` rows."""
    sizes = [(shape.hidden, shape.inner), (shape.inner, shape.hidden), (shape.hidden, shape.hidden)]
    return max(_matmul(tokens, k, n, device, dtype) for k, n in sizes)


def _matmul(m: int, k: int, n: int, device: str, dtype: torch.dtype) -> float:
    a = torch.randn(m, k, device=device, dtype=dtype)
    b = torch.randn(n, k, device=device, dtype=dtype)
    best = float("inf")
    for _ in range(_ROUNDS):
        wait_for(device)
        begin = time.perf_counter()
        torch.nn.functional.linear(a, b)
        wait_for(device)
        best = min(best, time.perf_counter() - begin)
    return 2 * m * k * n / best


def wait_for(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def wait_until_quiet() -> None:
    """Until nothing much runs: a server may be busy for a while after it has answered.

    One that was measured right after vLLM lost half a second to it. Bounded, for a machine that is never quiet.
    """
    until = time.monotonic() + _QUIET_S
    while _busy_share() > _QUIET_SHARE and time.monotonic() < until:
        pass


def _busy_share() -> float:
    """Of all cores, over a moment; proc(5) stat: the fourth and fifth number count what was idle."""
    before = _ticks()
    time.sleep(_MOMENT_S)
    spent = [now - then for now, then in zip(_ticks(), before, strict=True)]
    return 1 - sum(spent[3:5]) / max(1, sum(spent))


def _ticks() -> list[int]:
    return [int(n) for n in Path("/proc/stat").read_text("utf-8").split("\n")[0].split()[1:9]]


class PeakMemory:
    """Device memory above what is held when it is made; of a CPU nothing is known, and 0 said."""

    def __init__(self, device: str) -> None:
        self._cuda = device == "cuda"
        if self._cuda:
            torch.cuda.reset_peak_memory_stats()
        self._held = torch.cuda.memory_allocated() if self._cuda else 0

    def peak_bytes(self) -> int:
        return torch.cuda.max_memory_allocated() - self._held if self._cuda else 0


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(_ROOT), *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return done.stdout.strip()
