"""Tensor names: every known on-disk spelling to one canonical name; what is a backbone, a head, or neither."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from service.errors import StartError

K = TypeVar("K")

# Wrappers that trainers leave in names: FSDP, activation checkpointing, torch.compile and DeepSpeed anywhere,
# DDP, TRL's value-head model and PEFT in front.
_WITHIN = re.compile(
    r"(?:^|(?<=\.))(?:_fsdp_wrapped_module|_checkpoint_wrapped_module|_orig_mod|_forward_module|_fpw_module)\."
)
_IN_FRONT = re.compile(r"^(?:module\.|pretrained_model\.|base_model\.model\.)+")

# On disk: Qwen's release and most fine-tunes (visual.*, model.layers.*), newer savers
# (model.visual.*, model.language_model.*), and a bare base model (visual.*, language_model.*).
_BACKBONE = (
    (re.compile(r"^(?:model\.)*visual\.(?P<rest>.+)$"), "visual."),
    (re.compile(r"^(?:model\.)*language_model\.(?P<rest>.+)$"), "language_model."),
    (re.compile(r"^(?:model\.)+(?P<rest>(?:layers|embed_tokens|norm)\..+)$"), "language_model."),
)
# Not part of the function that scores: the language-model head, and buffers old savers wrote.
_IGNORED = re.compile(
    r"^(?:model\.|language_model\.)*lm_head\.|\.rotary_emb\.inv_freq$|\.rotary_pos_emb\.inv_freq$"
)
_ADAPTER = re.compile(r"\.lora_[AB]\.|\.lora_embedding_|\.modules_to_save\.|\.base_layer\.")
_QUANTISED = re.compile(
    r"\.(?:qweight|qzeros|g_idx|scales|(?:weight|input)_scale(?:_inv)?|weight_(?:packed|shape|zero_point)"
    r"|absmax|quant_map|nested_\w+|quant_state\..+|SCB|weight_format)$"
)
FLOATS = frozenset({"BF16", "F16", "F32", "F64"})

_NAMED_LAYERS = {"": 0, "summary": 0, "dense": 0, "out_proj": 1}
HEAD_PREFIXES = ("score", "rm_head", "reward_head", "v_head", "value_head", "head", "classifier")


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
        part = _head_part(name, head_prefix)
        if part is not None:
            _put(head, part, tensor)
        elif canonical is not None:
            _put(backbone, canonical, tensor)
        elif _IGNORED.search(name):
            ignored.append(tensor.name)
        else:
            stray.append(tensor.name)
    if front := _unknown_front(stray, head_prefix):
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


def unwrapped(name: str) -> tuple[str, set[str]]:
    """A stored name without the wrappers of trainers, and the wrappers."""
    taken = set(_WITHIN.findall(name))
    name = _WITHIN.sub("", name)
    if match := _IN_FRONT.match(name):
        taken.add(match[0])
        name = name[match.end() :]
    return name, taken


def is_ignored(name: str) -> bool:
    """Not part of the function that scores."""
    return _IGNORED.search(unwrapped(name)[0]) is not None


def canonical_name(name: str) -> str | None:
    """The backbone module's own name for a stored tensor; None if it is not of the backbone."""
    if _IGNORED.search(name):
        return None
    for pattern, prefix in _BACKBONE:
        if match := pattern.match(name):
            return prefix + match["rest"]
    return None


def head_prefixes(names: Iterable[str]) -> list[str]:
    """Under which known prefixes tensors of a head stand."""
    bare = [_bare(unwrapped(name)[0]) for name in names]
    return [p for p in HEAD_PREFIXES if any(name.startswith(p + ".") for name in bare)]


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


def _bare(name: str) -> str:
    """A head's tensor without the model that it hangs on: vLLM's language_model.score is score."""
    return re.sub(r"^(?:model\.|language_model\.)+", "", name)


def _head_part(name: str, prefix: str) -> tuple[str, str] | None:
    """("dense", "weight") for score.dense.weight; ("", "weight") for score.weight."""
    bare = next((n for n in (name, _bare(name)) if n.startswith(prefix + ".")), None)
    if bare is None:
        return None
    layer, _, kind = bare[len(prefix) + 1 :].rpartition(".")
    return (layer, kind) if kind in ("weight", "bias") else None


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


def _unknown_front(stray: Sequence[str], prefix: str) -> str | None:
    """What stands before a known name in the first stray one: of a trainer's class that held the model."""
    parts = unwrapped(stray[0])[0].split(".") if stray else []
    for at in range(1, len(parts)):
        rest = ".".join(parts[at:])
        if canonical_name(rest) is not None or _head_part(rest, prefix) is not None:
            return ".".join(parts[:at]) + "."
    return None


def _no_head(prefix: str, stray: Sequence[str]) -> str:
    found = [n for n in stray if head_prefixes([n])]
    if found:
        return f"no head under {prefix!r}, but {found[0]} is there: name its prefix (head.prefix)"
    return f"no reward head: no tensor {prefix}.* in the checkpoint"
