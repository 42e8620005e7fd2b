"""The stock transformers backbone: built empty, filled tensor by tensor, fingerprinted on the way."""

import copy
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLModel, Qwen2VLConfig, Qwen2VLModel
from transformers.initialization import no_init_weights
from transformers.utils import logging as transformers_logging

from service.cores import usable_cores
from service.errors import StartError
from service.model.checkpoint import Checkpoint
from service.model.config import without_attention
from service.model.folder import reason
from service.model.head import RewardHead
from service.model.tensors import StoredTensor

# By model_type, never by `architectures`: trainers write names there that do not exist. Never by a
# subclass of ours: transformers 5 skips its key conversion for those and leaves weights random.
CLASSES: dict[str, tuple[Any, Any]] = {
    "qwen2_5_vl": (Qwen2_5_VLConfig, Qwen2_5_VLModel),
    "qwen2_vl": (Qwen2VLConfig, Qwen2VLModel),
}
# That shape the text model's function and no tensor.
_TEXT_VALUES = {
    "hidden_act", "num_attention_heads", "num_key_value_heads", "rms_norm_eps", "use_sliding_window",
}  # fmt: skip
READERS = 8  # of tensors at a time

Progress = Callable[[int], None]  # called with bytes read


@dataclass(frozen=True, slots=True)
class Weights:
    backbone: Any  # Qwen2_5_VLModel or Qwen2VLModel
    head: RewardHead
    tensor_digests: Mapping[
        str, str
    ]  # canonical name → dtype, shape and sha256 of the stored bytes


def build(config: Mapping[str, Any], dtype: torch.dtype, device: torch.device | str) -> nn.Module:
    """The stock model with its memory allocated and its weights undefined; buffers are right."""
    transformers_logging.set_verbosity_error()  # its advice is about configs and classes we do not use
    config_class, model_class = CLASSES[str(config["model_type"])]
    before = torch.get_default_dtype()
    try:
        torch.set_default_dtype(dtype)
        with torch.device(device), no_init_weights():
            model: nn.Module = model_class(_config(config_class, config, dtype))
    except (StartError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # noqa: BLE001 - torch's modules raise all kinds where a size does not do
        raise StartError(f"config.json: {reason(error)}") from None
    finally:
        torch.set_default_dtype(before)
    return model.eval().requires_grad_(requires_grad=False)


def _config(config_class: Any, values: Mapping[str, Any], dtype: torch.dtype) -> Any:
    ignored = ("model_type", "architectures", "transformers_version", "quantization_config")
    stated = without_attention({k: v for k, v in values.items() if k not in ignored})
    config = config_class(**copy.deepcopy(stated))
    _check_parts(stated, config.text_config)
    for part in (config, config.text_config, config.vision_config):
        part.dtype = dtype  # a part's own dtype would win over the default one
    return config


def _check_parts(stated: Mapping[str, Any], text: Any) -> None:
    """What stands at the top of config.json, beside a text_config, is not read: it must say the same."""
    if "text_config" not in stated:
        return
    for key in _TEXT_VALUES & stated.keys():
        if stated[key] is not None and stated[key] != getattr(text, key):
            raise StartError(
                f"config.json: {key} = {stated[key]!r} contradicts text_config, which gives {getattr(text, key)!r}"
            )
    theta, used = stated.get("rope_theta"), text.rope_parameters.get("rope_theta")
    if theta is not None and theta != used:
        raise StartError(
            f"config.json: rope_theta = {theta!r} contradicts text_config, which gives {used!r}"
        )
    for name in ("rope_scaling", "rope_parameters"):
        for key, value in (stated.get(name) or {}).items():
            used = text.rope_parameters.get(key)
            if key not in ("type", "rope_type") and value != used:
                raise StartError(
                    f"config.json: {name}.{key} = {value!r} contradicts text_config, which gives {used!r}"
                )


def load(
    checkpoint: Checkpoint,
    dtype: torch.dtype,
    device: torch.device,
    progress: Progress = lambda _: None,
) -> Weights:
    """Read every tensor once: hash its stored bytes, cast it, put it where it belongs.

    Raises:
        StartError: a file cannot be read.
    """
    tensors = checkpoint.tensors
    backbone = build(checkpoint.config, dtype, device)
    manifest = checkpoint.manifest
    head = RewardHead(
        tensors.head_widths,
        [layer.bias is not None for layer in tensors.head],
        manifest.head.activation,
    ).to(device)
    targets = dict(backbone.named_parameters()) | dict(backbone.named_buffers())
    wanted: dict[StoredTensor, tuple[str, Any]] = {
        stored: (name, targets[name]) for name, stored in tensors.backbone.items()
    }
    for layer, module in zip(tensors.head, head.layers, strict=True):
        wanted[layer.weight] = (f"head.{layer.index}.weight", module.weight)
        if layer.bias is not None:
            wanted[layer.bias] = (f"head.{layer.index}.bias", module.bias)
    digests = {}
    for stored, digest, num_bytes in _placed(
        checkpoint.folder, {k: t for k, (_, t) in wanted.items()}
    ):
        digests[wanted[stored][0]] = digest
        progress(num_bytes)
    return Weights(backbone, head.eval().requires_grad_(requires_grad=False), digests)


def expected_shapes(config: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Canonical name → shape of every backbone tensor, without allocating any."""
    skeleton = build(config, torch.bfloat16, "meta")
    return {name: tuple(value.shape) for name, value in skeleton.state_dict().items()}


def check_shapes(checkpoint: Checkpoint) -> None:
    """Judge every tensor by its header, before a weight is read.

    Raises:
        StartError: config.json describes no backbone, or a tensor is missing, of another shape or of
            another type than it asks for; names it.
    """
    expected = expected_shapes(checkpoint.config)
    stored = checkpoint.tensors.backbone
    for name, shape in expected.items():
        if name not in stored:
            raise StartError(f"backbone tensor {name} is missing")
        if stored[name].shape != shape:
            raise StartError(
                f"backbone tensor {stored[name].name} has shape {list(stored[name].shape)}, "
                f"config.json asks for {list(shape)}"
            )
    extra = next((tensor.name for name, tensor in stored.items() if name not in expected), None)
    if extra:
        raise StartError(f"tensor {extra} has no place in the backbone that config.json describes")
    hidden = expected["language_model.norm.weight"][0]
    first = checkpoint.tensors.head[0].weight
    if first.shape[1] != hidden:
        raise StartError(
            f"head tensor {first.name} takes {first.shape[1]} inputs; the backbone gives {hidden}"
        )


def _placed(
    folder: Path, targets: Mapping[StoredTensor, Tensor]
) -> Iterator[tuple[StoredTensor, str, int]]:
    """Bring each tensor to its place; what was read: its digest and bytes.

    Several at a time: one thread hashes about 0.5 to 2 GB/s, and a fast disk wants to be asked for more than one.
    """
    with ThreadPoolExecutor(min(READERS, usable_cores())) as pool:
        for name in sorted({tensor.file for tensor in targets}):
            stored = [tensor for tensor in targets if tensor.file == name]
            try:
                with safe_open(folder / name, framework="pt", device="cpu") as file:
                    place = partial(_place, file)
                    yield from pool.map(place, stored, [targets[tensor] for tensor in stored])
            except (SafetensorError, OSError):
                raise StartError(f"{name} cannot be read; it is damaged or cut short") from None


def _place(file: Any, stored: StoredTensor, target: Tensor) -> tuple[StoredTensor, str, int]:
    value = file.get_tensor(stored.name)
    digest = _digest(stored, value)
    with torch.no_grad():
        target.copy_(value)
    return stored, digest, value.nbytes


def _digest(stored: StoredTensor, value: Tensor) -> str:
    raw = value.contiguous().reshape(-1).view(torch.uint8).numpy()
    return f"{stored.dtype} {list(stored.shape)} {hashlib.sha256(raw.data).hexdigest()}"


def fingerprint(digests: Mapping[str, str], *others: object) -> str:
    """One name for the function that scores: tensors under their canonical names, and everything else it uses."""
    text = json.dumps([sorted(digests.items()), *others], sort_keys=True, ensure_ascii=False)
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()
