"""Stored tensors sorted: what is of the backbone, of the head, of neither, and what is not served."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from service.errors import StartError
from service.model.tensor_names import (
    canonical_name,
    head_part,
    head_prefixes,
    is_ignored,
    unknown_front,
    unwrapped,
)

K = TypeVar("K")

_ADAPTER = re.compile(r"\.lora_[AB]\.|\.lora_embedding_|\.modules_to_save\.|\.base_layer\.")
_QUANTISED = re.compile(
    r"\.(?:qweight|qzeros|g_idx|scales|(?:weight|input)_scale(?:_inv)?|weight_(?:packed|shape|zero_point)"
    r"|absmax|quant_map|nested_\w+|quant_state\..+|SCB|weight_format)$"
)
FLOATS = frozenset({"BF16", "F16", "F32", "F64"})

_NAMED_LAYERS = {"": 0, "summary": 0, "dense": 0, "out_proj": 1}


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """One tensor as a file's header states it."""

    file: str  # relative to the checkpoint folder
    name: str  # as stored
    shape: tuple[int, ...]
    dtype: str  # safetensors spelling: BF16, F32, …
    bytes: int

    @property
    def elements(self) -> int:
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True)
class HeadLayer:
    index: int
    weight: StoredTensor
    bias: StoredTensor | None


@dataclass(frozen=True, slots=True)
class TensorMap:
    """Which stored tensor is what."""

    backbone: Mapping[str, StoredTensor]  # by canonical name: visual.…, language_model.…
    head: Sequence[HeadLayer]  # first layer first
    ignored: tuple[str, ...]
    wrappers: tuple[str, ...] = ()  # that were taken off names

    @property
    def served(self) -> list[StoredTensor]:
        """Everything that is read."""
        head = [t for layer in self.head for t in (layer.weight, layer.bias) if t is not None]
        return [*self.backbone.values(), *head]

    @property
    def head_widths(self) -> list[int]:
        """Inputs of the first layer, then outputs of each."""
        return [self.head[0].weight.shape[1], *(layer.weight.shape[0] for layer in self.head)]


def map_tensors(stored: Iterable[StoredTensor], head_prefix: str) -> TensorMap:
    """Sort a checkpoint's tensors.

    Raises:
        StartError: an adapter, a duplicate, a tensor that belongs nowhere, or no usable head; names it.
    """
    backbone: dict[str, StoredTensor] = {}
    head: dict[tuple[str, str], StoredTensor] = {}
    ignored: list[str] = []
    stray: list[str] = []
    wrappers: set[str] = set()
    for tensor in stored:
        name, taken = unwrapped(tensor.name)
        wrappers |= taken
        _check_kind(tensor, name)
        canonical = canonical_name(name)
        part = head_part(name, head_prefix)
        if part is not None:
            _put(head, part, tensor)
        elif canonical is not None:
            _put(backbone, canonical, tensor)
        elif is_ignored(tensor.name):
            ignored.append(tensor.name)
        else:
            stray.append(tensor.name)
    if front := unknown_front(stray, head_prefix):
        raise StartError(
            f"tensor {stray[0]} would be known without {front!r}, a wrapper that is not: "
            f"save the wrapped model itself, or rename its tensors"
        )
    layers = _layers(head, head_prefix, stray)
    if stray:
        raise StartError(f"tensor {stray[0]} is neither backbone nor head ({head_prefix}.…)")
    mapped = TensorMap(backbone, layers, tuple(ignored), tuple(sorted(wrappers)))
    _check_types(mapped)
    return mapped


def _check_kind(tensor: StoredTensor, name: str) -> None:
    if _ADAPTER.search(name):
        raise StartError(f"{tensor.name} is a LoRA adapter; merge it into the weights first")
    if _QUANTISED.search(name):
        raise StartError(
            f"tensor {tensor.name} is of quantised weights; only float weights are served"
        )


def _check_types(tensors: TensorMap) -> None:
    for tensor in tensors.served:
        if tensor.dtype not in FLOATS:
            raise StartError(
                f"tensor {tensor.name} is stored as {tensor.dtype}; only float weights are served"
            )


def _put(into: dict[K, StoredTensor], key: K, tensor: StoredTensor) -> None:
    if key in into:
        raise StartError(
            f"tensor {tensor.name} ({tensor.file}) is stored twice, also as {into[key].name}"
        )
    into[key] = tensor


def _layers(
    head: dict[tuple[str, str], StoredTensor], prefix: str, stray: list[str]
) -> list[HeadLayer]:
    if not head:
        raise StartError(_no_head(prefix, stray))
    order = sorted({layer for layer, _ in head}, key=lambda layer: _order(layer, prefix))
    layers = []
    for index, layer in enumerate(order):
        weight = head.get((layer, "weight"))
        if weight is None:
            raise StartError(f"head tensor {prefix}.{layer}.weight is missing")
        layers.append(HeadLayer(index, weight, head.get((layer, "bias"))))
    _check_chain(layers)
    return layers


def _order(layer: str, prefix: str) -> int:
    if layer in _NAMED_LAYERS:
        return _NAMED_LAYERS[layer]
    if layer.isdigit():
        return int(layer)
    raise StartError(f"head layer {prefix}.{layer} is of no known layout")


def _check_chain(layers: Sequence[HeadLayer]) -> None:
    """Each layer takes what the one before gives, and the last gives one number."""
    width: int | None = None
    for layer in layers:
        weight = layer.weight
        if len(weight.shape) != 2:  # noqa: PLR2004 - a matrix
            raise StartError(
                f"head tensor {weight.name} has shape {list(weight.shape)}, not a matrix"
            )
        if width is not None and weight.shape[1] != width:
            raise StartError(
                f"head tensor {weight.name} takes {weight.shape[1]} inputs, not {width}"
            )
        width = weight.shape[0]
        if layer.bias is not None and layer.bias.shape != (width,):
            raise StartError(
                f"head tensor {layer.bias.name} has shape {list(layer.bias.shape)}, not [{width}]"
            )
    if width != 1:
        raise StartError(
            f"head tensor {layers[-1].weight.name} gives {width} outputs; a reward is one number"
        )


def _no_head(prefix: str, stray: Sequence[str]) -> str:
    found = [n for n in stray if head_prefixes([n])]
    if found:
        return f"no head under {prefix!r}, but {found[0]} is there: name its prefix (head.prefix)"
    return f"no reward head: no tensor {prefix}.* in the checkpoint"
