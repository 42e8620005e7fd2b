"""Which files of a folder hold its weights, and what their headers say; no weight is read."""

import json
import math
import re
import struct
from pathlib import Path
from typing import Any

from service.errors import StartError
from service.model.folder import LARGE_BYTES, exists, opened, parsed, read_json
from service.model.location import adapter_line
from service.model.tensor_names import head_prefixes, is_ignored
from service.model.tensors import StoredTensor, TensorMap, map_tensors

WHOLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
HEAD_FILES = ("value_head.safetensors",)
HEADER_BYTES = 32 * 2**20  # a 72B's has 0.2 MB
_PREFIX = 8  # bytes that state the header's length
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")
_HEAD_NAME = re.compile(r"(?i)head|score|reward|value|classifier")
_SHARDS = "model-*-of-*.safetensors"
_BYTES = {"BOOL": 1, "U8": 1, "I8": 1, "I16": 2, "U16": 2, "F16": 2, "BF16": 2} | {
    "I32": 4, "U32": 4, "F32": 4, "I64": 8, "U64": 8, "F64": 8, "F8_E4M3": 1, "F8_E5M2": 1
}  # fmt: skip


def read_tensors(folder: Path, prefix: str) -> TensorMap:
    """The folder's tensors, each in its place.

    Raises:
        StartError: as `stored_tensors`, or a tensor has no place; a head in a file that is not read is named.
    """
    stored = stored_tensors(folder)
    others = _other_heads(folder, {tensor.file for tensor in stored})
    if not head_prefixes(tensor.name for tensor in stored):
        if (elsewhere := _head_elsewhere(folder, others, prefix)) is not None:
            raise StartError(f"no reward head: no tensor {prefix}.* in the checkpoint; {elsewhere}")
    elif alone := [
        name for name, names in others.items() if all(head_prefixes([n]) for n in names)
    ]:
        raise StartError(
            f"two heads: one beside the backbone, and {alone[0]}, which is not read; remove the one that is not meant"
        )
    return map_tensors(stored, prefix)


def stored_tensors(folder: Path) -> list[StoredTensor]:
    """Every tensor of the folder's safetensors files, from their headers.

    Raises:
        StartError: no weights, or two sets of them; a shard is missing or cut short; a header is damaged.
    """
    if (adapter := adapter_line(folder)) is not None:
        raise StartError(adapter)
    shards = _weight_files(folder)
    heads = [name for name in HEAD_FILES if name not in shards and exists(folder, name)]
    tensors = [tensor for name in [*shards, *heads] for tensor in header(folder, name)]
    if exists(folder, INDEX):
        found = {tensor.name for tensor in tensors}
        for name in _weight_map(folder):
            if name not in found and not is_ignored(name):
                raise StartError(f"tensor {name} is missing from its shard (named in {INDEX})")
    return tensors


def _other_heads(folder: Path, read: set[str]) -> dict[str, list[str]]:
    """Safetensors files that are called like a head and are not read, with the names in them; a damaged one is none."""
    found = {}
    for name in filter(_HEAD_NAME.search, _other_files(folder, read)):
        try:
            found[name] = [tensor.name for tensor in header(folder, name)]
        except StartError:
            continue
    return found


def _head_elsewhere(folder: Path, others: dict[str, list[str]], prefix: str) -> str | None:
    """The file that seems to hold the head and is not read, with what mends it."""
    for name, names in others.items():
        if heads := [n for n in names if head_prefixes([n])]:
            return f"{name} holds {heads[0]} and is not read: rename it to {HEAD_FILES[0]}"
        return f"{name} is not read: store its tensors as {prefix}.* in {HEAD_FILES[0]}"
    for name in filter(_HEAD_NAME.search, _pickles(folder)):
        return f"{name} is a pickle and is never loaded; convert it to {HEAD_FILES[0]}"
    return None


def _pickles(folder: Path) -> list[str]:
    return sorted(path.name for pattern in _PICKLES for path in folder.glob(pattern))


def _other_files(folder: Path, read: set[str]) -> list[str]:
    return sorted(p.name for p in folder.glob("*.safetensors") if p.name not in read)


def _weight_files(folder: Path) -> list[str]:
    whole = exists(folder, WHOLE)
    present = {path.name for path in folder.glob(_SHARDS)}
    if not exists(folder, INDEX):
        if whole and present:
            raise StartError(_two_sets(f"{min(present)} (and no {INDEX})"))
        if not whole:
            raise StartError(_no_weights(folder))
        return [WHOLE]
    shards = sorted(set(_weight_map(folder).values()))
    missing = [name for name in shards if not exists(folder, name)]
    others = [name for name in shards if name != WHOLE]
    if whole and missing:
        raise StartError(
            f"{INDEX} is stale: shard {missing[0][:200]} is missing, and {WHOLE} stands beside it; "
            "remove the index if that file is the whole model"
        )
    if whole and others:
        raise StartError(_two_sets(f"{others[0]} (named in {INDEX})"))
    if missing:
        raise StartError(f"shard {missing[0][:200]} is missing (named in {INDEX})")
    if present - set(shards):
        raise StartError(
            f"two sets of weights: {INDEX} does not name {min(present - set(shards))}; remove the set that is not meant"
        )
    return shards


def _two_sets(other: str) -> str:
    return f"two sets of weights: {WHOLE} and {other}; nothing says which is newer: remove one"


def _no_weights(folder: Path) -> str:
    if any(folder.glob(_SHARDS)):
        return f"{folder} has shards but no {INDEX}"
    for pattern, mend in (
        ("global_step*", "is DeepSpeed's own state; convert it with its zero_to_fp32.py"),
        ("pytorch_model_fsdp*", "is FSDP's own state; convert it with accelerate merge-weights"),
        (
            "*.distcp",
            "is a distributed checkpoint of torch; convert it with accelerate merge-weights",
        ),
        ("*.gguf", "is a GGUF file; take the checkpoint that it was made of"),
    ):
        for path in folder.glob(pattern):
            return f"{folder} has no {WHOLE}; {path.name} {mend}"
    if found := _pickles(folder):
        return f"{found[0]} is a pickle and is never loaded; convert the weights to safetensors"
    if found := _other_files(folder, set(HEAD_FILES)):
        return f"{folder} has no {WHOLE}; if {found[0]} is the whole model, rename it"
    return f"{folder} has no {WHOLE}"


def _weight_map(folder: Path) -> dict[str, str]:
    stated = read_json(folder, INDEX, LARGE_BYTES).get("weight_map")
    if not isinstance(stated, dict) or not all(isinstance(v, str) for v in stated.values()):
        raise StartError(f"{INDEX} holds no weight_map of names to files")
    for name in stated.values():
        if not name.endswith(".safetensors"):
            raise StartError(f"{INDEX} names {name[:200]}, which is not a safetensors file")
    return stated


def header(folder: Path, name: str) -> list[StoredTensor]:
    """Names, shapes and types in one file; the length is checked against the file's own."""
    damaged = f"{name} is not a safetensors file, or its header is damaged"
    with opened(folder, name) as (file, size):
        try:
            (length,) = struct.unpack("<Q", file.read(_PREFIX))
            if length > min(HEADER_BYTES, size):
                raise ValueError
            stated = parsed(file.read(length), name)
            stated.pop("__metadata__", None)
            tensors = [_stored(name, key, entry) for key, entry in stated.items()]
            end = _end(stated)
        except (ValueError, KeyError, TypeError, AttributeError, struct.error, StartError) as error:
            twice = isinstance(error, StartError) and "twice" in str(error)
            raise StartError(str(error) if twice else damaged) from None
    if size < _PREFIX + length + end:
        raise StartError(f"{name} is cut short: {size} bytes of {_PREFIX + length + end}")
    if size > _PREFIX + length + end:
        raise StartError(f"{name} has {size} bytes; its header names {_PREFIX + length + end}")
    return tensors


def _stored(file: str, name: str, entry: dict[str, Any]) -> StoredTensor:
    begin, end = entry["data_offsets"]
    shape, dtype = entry["shape"], entry["dtype"]
    whole = [begin, end, *shape]
    if not isinstance(dtype, str) or not all(type(n) is int and n >= 0 for n in whole):
        raise ValueError
    json.dumps(name, ensure_ascii=False).encode()  # a lone surrogate is no name
    if dtype in _BYTES and math.prod(shape) * _BYTES[dtype] != end - begin:
        raise ValueError
    return StoredTensor(file, name, tuple(shape), dtype, end - begin)


def _end(stated: dict[str, Any]) -> int:
    """Where the last tensor ends; each begins where the one before ends."""
    position = 0
    for begin, end in sorted(tuple(entry["data_offsets"]) for entry in stated.values()):
        if begin != position:
            raise ValueError
        position = end
    return position
