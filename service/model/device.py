"""Where and how precisely the model runs, and how that is named in answers."""

import warnings
from collections.abc import Callable
from typing import TypeVar

import torch

from service.core import DeviceMemory
from service.errors import DeviceLost, OutOfMemory, StartError

T = TypeVar("T")

DTYPES = {"bfloat16": torch.bfloat16, "float32": torch.float32}
_SHORT = {torch.bfloat16: "bf16", torch.float32: "fp32"}
_HEADROOM = 1.10  # activations of the smallest step, and the allocator's rounding


def cuda_problem() -> str | None:
    """Why CUDA cannot be used; None if it can."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        if torch.cuda.is_available():
            return None
    return str(caught[0].message).splitlines()[0] if caught else "no CUDA device is visible"


def pick_device(
    wanted: str,
    problem: Callable[[], str | None] = cuda_problem,
    cuda_build: bool = torch.version.cuda is not None,
) -> torch.device:
    """CUDA when there is one, else CPU.

    Raises:
        StartError: CUDA was asked for, or its driver is too old for this torch: serving 7B on the
            CPU of a GPU node without a word would look like a hang.
    """
    if wanted == "cpu":
        return torch.device("cpu")
    trouble = problem() if cuda_build else "this torch is a CPU build"
    if trouble is None:
        return torch.device("cuda", 0)
    if wanted == "cuda":
        raise StartError(f"device cuda: {trouble}")
    if "driver" in trouble and "too old" in trouble:
        raise StartError(
            f"NVIDIA driver too old for torch {torch.__version__}: renew it, or set device=cpu"
        )
    return torch.device("cpu")


def pick_dtype(wanted: str, device: torch.device) -> torch.dtype:
    if wanted == "auto":
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    return DTYPES[wanted]


def guarded(
    work: Callable[[], T], device: torch.device, probe: Callable[[torch.device], None] | None = None
) -> T:
    """Do it; what the device itself is at fault for is said in the house's own words.

    After some CUDA errors (an illegal address, an uncorrectable memory error) every later call of the process
    fails too. Which, no list says for certain: the device is asked.

    Raises:
        OutOfMemory: with what the failed step held given back.
        DeviceLost: the device answers nothing any more.
    """
    try:
        return work()
    except torch.OutOfMemoryError as error:
        trouble: Exception = OutOfMemory(_first_line(error))
    except RuntimeError as error:
        if device.type != "cuda":
            raise
        if (why := _why_lost(device, probe or _ask)) is None:
            raise
        trouble = DeviceLost(f"{_first_line(error)}; and then: {why}")
    # Outside the handlers: an error's traceback holds the failed step's tensors.
    if device.type == "cuda" and isinstance(trouble, OutOfMemory):
        torch.cuda.empty_cache()
    raise trouble


def _why_lost(device: torch.device, probe: Callable[[torch.device], None]) -> str | None:
    try:
        probe(device)
    except torch.OutOfMemoryError:
        return None  # it answers
    except RuntimeError as error:
        return _first_line(error)
    return None


def _ask(device: torch.device) -> None:
    torch.cuda.synchronize(device)
    torch.ones(1, device=device).item()


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def step_tokens(device: torch.device) -> int:
    """How many tokens a step is best given: a GPU's cores are full by then, a CPU's caches."""
    return 16_384 if device.type == "cuda" else 4_096


def check_memory(needed_bytes: int, device: torch.device, fraction: float = 1.0) -> None:
    """Hold the whole process to its share of the device.

    Args:
        needed_bytes: of the weights.
        device: where they go; a CPU has no limit.
        fraction: of the device's memory that weights, activations and caches may take together.

    Raises:
        StartError: the weights do not fit into what is free of it.
    """
    if device.type != "cuda":
        return
    torch.cuda.set_per_process_memory_fraction(fraction, device)
    free, total = torch.cuda.mem_get_info(device)
    free = min(free, int(total * fraction))
    if needed_bytes * _HEADROOM > free:
        raise StartError(not_enough_memory(needed_bytes, free, total))


def room_for_caches(fraction: float, step_bytes: int, device: torch.device) -> int | None:
    """What is left beside the loaded weights and the largest step, in bytes; None: a CPU has no limit."""
    if device.type != "cuda":
        return None
    total = torch.cuda.get_device_properties(device).total_memory
    return max(0, int(total * fraction) - torch.cuda.memory_allocated(device) - step_bytes)


def not_enough_memory(needed: int, free: int, total: int) -> str:
    gib = 2**30
    found = f"{free / gib:.1f} of {total / gib:.1f} GiB are free"
    return f"not enough GPU memory: the weights need {needed / gib:.1f} GiB, {found}"


def memory(device: torch.device) -> DeviceMemory | None:
    if device.type != "cuda":
        return None
    return DeviceMemory(
        torch.cuda.memory_allocated(device),
        torch.cuda.memory_reserved(device),
        torch.cuda.get_device_properties(device).total_memory,
    )


def numerics(dtype: torch.dtype, device: torch.device) -> str:
    """Precision, sameness level, chip, library: equal strings promise equal rewards within the bound."""
    if device.type == "cuda":
        major, minor = torch.cuda.get_device_capability(device)
        chip = f"sm{major}{minor}"
    else:
        chip = "cpu-" + torch.backends.cpu.get_cpu_capability().lower()
    library = ".".join(torch.__version__.split("+")[0].split(".")[:2])
    return f"{_SHORT[dtype]}/fast/{chip}/torch-{library}"
