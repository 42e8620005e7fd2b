"""The ragged attention kernel of newer torch on CUDA: found by signature, and believed only after a comparison."""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from service.model.attention import Attend, Segments, agrees

_BF16_NOISE = 0.02  # 0.008 was seen

Place = Callable[[Tensor], Tensor]  # a host tensor to where it is needed


@dataclass(frozen=True, slots=True)
class Ragged:
    """Where segments begin, as the kernel takes it."""

    starts_q: Tensor  # int32 [segments + 1]
    starts_k: Tensor
    longest_q: int
    longest_k: int

    @classmethod
    def of(cls, queries: Sequence[int], keys: Sequence[int], on: Place) -> "Ragged":
        """From the segments' lengths."""
        starts = [on(_starts(lengths)) for lengths in (queries, keys)]
        return cls(starts[0], starts[1], max(queries), max(keys))


@dataclass(frozen=True, slots=True)
class Varlen:
    """`torch.nn.attention.varlen.varlen_attn`, whichever of its signatures this torch has."""

    function: Callable[..., Any]
    options: dict[str, Any]
    causal: dict[str, Any]
    expand_heads: bool  # the kernel takes no grouped heads: repeat keys and values

    def plan(self, segments: Segments, on: Place) -> Attend:
        lengths_q = [stop - start for start, stop in segments.queries]
        lengths_k = [sum(b - a for a, b in path) for path in segments.paths]
        gather = torch.cat(
            [torch.arange(a, b) for path in segments.paths for a, b in path]
        )  # [keys of all segments]
        gather, ragged = on(gather), Ragged.of(lengths_q, lengths_k, on)

        def attend(query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
            q = query[0].transpose(0, 1).contiguous()  # [queries, heads, dim]
            k, v = (x[0].transpose(0, 1)[gather] for x in (key, value))  # [keys, kv heads, dim]
            return self.call(q, k, v, scale, ragged, causal=True)

        return attend

    def call(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        scale: float,
        ragged: "Ragged",
        *,
        causal: bool,
    ) -> Tensor:
        """[queries, heads, dim] over [keys, kv heads, dim], segment by segment; same shape as the queries."""
        if self.expand_heads:
            groups = q.shape[1] // k.shape[1]
            k, v = k.repeat_interleave(groups, 1), v.repeat_interleave(groups, 1)
        options = self.options | (self.causal if causal else {})
        out = self.function(
            q,
            k,
            v,
            ragged.starts_q,
            ragged.starts_k,
            ragged.longest_q,
            ragged.longest_k,
            scale=scale,
            **options,
        )
        result: Tensor = out[0] if isinstance(out, tuple) else out
        return result


def find_varlen(device: torch.device, dtype: torch.dtype) -> Varlen | None:
    """The ragged kernel, if this torch and device have one that gives what SDPA gives; else None."""
    if device.type != "cuda" or dtype not in (torch.bfloat16, torch.float16):
        return None
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return None
    found = read_signature(varlen_attn)
    if found is None:
        return None
    # Causal with fewer queries than keys is aligned at the end, as everything here relies on.
    right = agrees(lambda s: found.plan(s, lambda x: x.to(device)), device, dtype, _BF16_NOISE)
    return found if right else None


def read_signature(function: Callable[..., Any]) -> Varlen | None:
    """Its name has stayed over torch versions, its options have not; None for one that cannot be causal."""
    known = inspect.signature(function).parameters
    if "scale" not in known:
        return None
    if "window_size" in known:
        causal: dict[str, Any] = {"window_size": (-1, 0)}
    elif "is_causal" in known:
        causal = {"is_causal": True}
    else:
        return None
    options: dict[str, Any] = {}
    if "num_splits" in known:
        options["num_splits"] = 1  # the same bits whatever the company
    if "enable_gqa" in known:
        options["enable_gqa"] = True
    return Varlen(function, options, causal, expand_heads="enable_gqa" not in known)


def _starts(lengths: Sequence[int]) -> Tensor:
    return torch.tensor([0, *lengths], dtype=torch.int32).cumsum(0, dtype=torch.int32)
