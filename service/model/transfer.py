"""Host to device beside the running step: pinned memory and a stream of its own on CUDA, plain tensors elsewhere."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass(slots=True)
class Ready:
    """When everything that was copied has arrived."""

    event: torch.cuda.Event | None = field(default=None)

    def wait(self) -> None:
        """Let the device, not the host, wait for it."""
        if self.event is not None:
            torch.cuda.current_stream().wait_event(self.event)


class Transfer:
    def __init__(self, device: torch.device) -> None:
        self.device = device
        cuda = device.type == "cuda"
        self._stream = torch.cuda.Stream(device) if cuda else None  # type: ignore[no-untyped-call]

    @contextmanager
    def staging(self) -> Iterator[Ready]:
        """Copies made within do not wait for the step that is running."""
        ready = Ready()
        if self._stream is None:
            yield ready
            return
        with torch.cuda.stream(self._stream):
            yield ready
            ready.event = self._stream.record_event()

    def to_device(self, tensor: Tensor) -> Tensor:
        if self._stream is None:
            return tensor
        return tensor.pin_memory().to(self.device, non_blocking=True)
