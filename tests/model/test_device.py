"""Device and precision: what is picked, and the readable line where it cannot be."""

import pytest
import torch

from service.errors import DeviceLost, OutOfMemory, StartError
from service.model import device as devices

OLD_DRIVER = (
    "CUDA initialization: The NVIDIA driver on your system is too old (found version 11040)."
)


def test_cpu_when_asked_or_when_there_is_nothing_else():
    assert devices.pick_device("cpu", lambda: None, cuda_build=True).type == "cpu"
    assert (
        devices.pick_device("auto", lambda: "no CUDA device is visible", cuda_build=True).type
        == "cpu"
    )
    assert devices.pick_device("auto", lambda: None, cuda_build=False).type == "cpu"


def test_cuda_when_there_is_one():
    assert devices.pick_device("auto", lambda: None, cuda_build=True).type == "cuda"


def test_an_old_driver_is_said_not_served_around():
    with pytest.raises(StartError, match="NVIDIA driver too old for torch"):
        devices.pick_device("auto", lambda: OLD_DRIVER, cuda_build=True)
    with pytest.raises(StartError, match="too old"):
        devices.pick_device("cuda", lambda: OLD_DRIVER, cuda_build=True)


def test_cuda_asked_for_but_not_there():
    with pytest.raises(StartError, match="device cuda: this torch is a CPU build"):
        devices.pick_device("cuda", lambda: None, cuda_build=False)


def test_precision_by_device():
    assert devices.pick_dtype("auto", torch.device("cpu")) == torch.float32
    assert devices.pick_dtype("auto", torch.device("cuda", 0)) == torch.bfloat16
    assert devices.pick_dtype("bfloat16", torch.device("cpu")) == torch.bfloat16


def test_too_little_memory_is_one_line_with_figures(monkeypatch):
    gib = 2**30
    limits = []
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (10 * gib, 16 * gib))
    monkeypatch.setattr(
        torch.cuda, "set_per_process_memory_fraction", lambda share, _: limits.append(share)
    )
    devices.check_memory(9 * gib, torch.device("cuda", 0))
    with pytest.raises(StartError) as caught:
        devices.check_memory(15 * gib, torch.device("cuda", 0))
    assert str(caught.value) == (
        "not enough GPU memory: the weights need 15.0 GiB, 10.0 of 16.0 GiB are free"
    )
    with pytest.raises(StartError, match=r"the weights need 9.0 GiB, 8.0 of 16.0 GiB are free"):
        devices.check_memory(9 * gib, torch.device("cuda", 0), fraction=0.5)
    assert limits == [1.0, 1.0, 0.5]
    devices.check_memory(15 * gib, torch.device("cpu"))


def test_numerics_names_precision_level_chip_and_library():
    parts = devices.numerics(torch.float32, torch.device("cpu")).split("/")
    assert parts[:2] == ["fp32", "fast"]
    assert parts[2].startswith("cpu-")
    assert parts[3].removeprefix("torch-") in torch.__version__


CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)


def raising(error: Exception):
    def work() -> None:
        raise error

    return work


@pytest.fixture
def emptied(monkeypatch):
    """How often the allocator was asked to give back what it keeps."""
    calls = []
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: calls.append(1))
    return calls


def answers(_: torch.device) -> None:
    pass


def answers_nothing(_: torch.device) -> None:
    raise RuntimeError("CUDA error: an illegal memory access was encountered\nat address 0x7f")


def test_what_the_device_gives_is_passed_on():
    assert devices.guarded(lambda: 7, CUDA, answers_nothing) == 7


def test_out_of_memory_is_said_in_our_words_and_what_is_kept_is_given_back(emptied):
    error = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.\nmore")
    with pytest.raises(OutOfMemory, match=r"Tried to allocate 2 GiB\.$") as caught:
        devices.guarded(raising(error), CUDA, answers)
    assert emptied == [1]
    assert caught.value.__context__ is None  # its traceback would hold the failed step's tensors


def test_an_error_after_which_the_device_still_answers_is_the_steps_own(emptied):
    error = RuntimeError("shapes differ")
    with pytest.raises(RuntimeError) as caught:
        devices.guarded(raising(error), CUDA, answers)
    assert caught.value is error


def test_a_device_that_answers_nothing_any_more_is_lost():
    error = RuntimeError("CUDA error: device-side assert triggered")
    with pytest.raises(
        DeviceLost, match="device-side assert triggered; and then: CUDA error: an illegal"
    ) as caught:
        devices.guarded(raising(error), CUDA, answers_nothing)
    assert "0x7f" not in str(caught.value)


def test_a_full_device_still_answers():
    """The probe wants memory, too."""

    def full(_: torch.device) -> None:
        raise torch.OutOfMemoryError("full")

    with pytest.raises(RuntimeError, match="shapes differ"):
        devices.guarded(raising(RuntimeError("shapes differ")), CUDA, full)


def test_a_cpu_is_never_lost():
    with pytest.raises(RuntimeError, match="no"):
        devices.guarded(raising(RuntimeError("no")), CPU, answers_nothing)
