"""A checkpoint as its files state it: config, manifest, tensor headers; read and judged before any weight is."""

import json
import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from service.errors import StartError
from service.model import manifest as manifests
from service.model.manifest import Manifest
from service.model.tensors import StoredTensor, TensorMap, map_tensors

BACKBONES = ("qwen2_5_vl", "qwen2_vl")
INDEX = "model.safetensors.index.json"
HEAD_FILES = ("value_head.safetensors",)
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_HUB_FILES = ("*.safetensors", "*.json", "*.jinja", "*.txt", "golden/*")
_MAX_HEADER_BYTES = 100_000_000  # the safetensors library's own limit


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A folder whose files fit together; weights not read yet."""

    folder: Path
    config: dict[str, Any]
    manifest: Manifest
    recipe: str | None  # the manifest came from it, not from a file
    tensors: TensorMap

    @property
    def model_type(self) -> str:
        return str(self.config["model_type"])

    @property
    def weight_bytes(self) -> int:
        """Stored bytes of everything that is read."""
        return sum(tensor.bytes for tensor in self.tensors.served)


def locate(source: str, revision: str | None = None) -> Path:
    """The folder of a local path or a hub id.

    Raises:
        StartError: it is neither, or the hub cannot give it.
    """
    path = Path(source)
    if path.is_dir():
        return path
    if not _HUB_ID.fullmatch(source) or path.exists():
        raise StartError(f"no checkpoint folder {source!r}, and it is not a hub id (owner/name)")
    return _download(source, revision)


def _download(repo_id: str, revision: str | None) -> Path:
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        folder = snapshot_download(
            repo_id,
            revision=revision,
            allow_patterns=list(_HUB_FILES),
            local_files_only=constants.HF_HUB_OFFLINE,
        )
    except LocalEntryNotFoundError:
        raise StartError(
            f"{repo_id} is not in the local cache and the hub is out of reach"
        ) from None
    except (HfHubHTTPError, OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise StartError(
            f"the hub does not give {repo_id}@{revision or 'main'}: {reason}"
        ) from None
    return Path(folder)


def open_checkpoint(folder: Path, recipe: str | None = None) -> Checkpoint:
    """Read everything but the weights.

    Raises:
        StartError: a file is missing or at odds with another; one line that says which.
    """
    config = read_config(folder)
    manifest = manifests.read(folder)
    if manifest is None:
        if recipe is None:
            raise StartError(_no_manifest(folder))
        manifest = manifests.from_recipe(recipe, config)
    elif recipe is not None:
        raise StartError(
            f"{folder} has a {manifests.FILE_NAME}; drop --recipe {recipe}, or the file"
        )
    tensors = map_tensors(stored_tensors(folder), manifest.head.prefix)
    return Checkpoint(folder, config, manifest, recipe, tensors)


def read_config(folder: Path) -> dict[str, Any]:
    """`config.json`, if it is of a backbone we serve and asks for no remote code."""
    config = _read_json(folder / "config.json")
    for name in ("config.json", "tokenizer_config.json", "preprocessor_config.json"):
        path = folder / name
        if path.is_file() and "auto_map" in _read_json(path):
            raise StartError(f"{name} asks for remote code (auto_map); it is never run")
    if not isinstance(config.get("vision_config", {}), dict):
        raise StartError("config.json: vision_config is not an object")
    if config.get("model_type") not in BACKBONES:
        raise StartError(
            f"model_type {config.get('model_type')!r} is not served; known: {', '.join(BACKBONES)}"
        )
    return config


def stored_tensors(folder: Path) -> list[StoredTensor]:
    """Every tensor of the folder's safetensors files, from their headers.

    Raises:
        StartError: no weights, a shard the index names is missing, a file is cut short, or only pickles.
    """
    names = _weight_files(folder)
    tensors = [tensor for name in names for tensor in _header(folder, name)]
    _check_index(folder, {t.name for t in tensors})
    return tensors


def _weight_files(folder: Path) -> list[str]:
    heads = [name for name in HEAD_FILES if (folder / name).is_file()]
    if (folder / INDEX).is_file():
        shards = sorted(set(_weight_map(folder).values()))
        for shard in shards:
            if not (folder / shard).is_file():
                raise StartError(f"shard {shard} is missing (named in {INDEX})")
        return shards + [h for h in heads if h not in shards]
    if (folder / "model.safetensors").is_file():
        return ["model.safetensors", *heads]
    raise StartError(_no_weights(folder))


def _no_weights(folder: Path) -> str:
    if any(folder.glob("model-*-of-*.safetensors")):
        return f"{folder} has shards but no {INDEX}"
    pickles = sorted(
        p.name for p in (*folder.glob("*.bin"), *folder.glob("*.pt"), *folder.glob("*.pth"))
    )
    if pickles:
        return f"{pickles[0]} is a pickle and is never loaded; convert the weights to safetensors"
    return f"{folder} has no model.safetensors"


def _check_index(folder: Path, found: set[str]) -> None:
    if (folder / INDEX).is_file():
        for name in _weight_map(folder):
            if name not in found:
                raise StartError(f"tensor {name} is missing from its shard (named in {INDEX})")


def _weight_map(folder: Path) -> dict[str, str]:
    stated = _read_json(folder / INDEX).get("weight_map")
    if not isinstance(stated, dict) or not all(isinstance(v, str) for v in stated.values()):
        raise StartError(f"{INDEX} holds no weight_map of names to files")
    return stated


def _header(folder: Path, name: str) -> list[StoredTensor]:
    """Names, shapes and types in one file; the length is checked against the file's own."""
    path = folder / name
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > _MAX_HEADER_BYTES:
                raise ValueError
            header = json.loads(file.read(length))
        header.pop("__metadata__", None)
        end = max((entry["data_offsets"][1] for entry in header.values()), default=0)
        tensors = [_stored(name, key, entry) for key, entry in header.items()]
    except (ValueError, KeyError, TypeError, AttributeError, struct.error):
        raise StartError(f"{name} is not a safetensors file, or its header is damaged") from None
    if path.stat().st_size != 8 + length + end:
        raise StartError(f"{name} is cut short: {path.stat().st_size} bytes of {8 + length + end}")
    return tensors


def _stored(file: str, name: str, entry: dict[str, Any]) -> StoredTensor:
    begin, end = entry["data_offsets"]
    return StoredTensor(file, name, tuple(entry["shape"]), entry["dtype"], end - begin)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise StartError(f"{path.parent} is no checkpoint: {path.name} is missing") from None
    except (OSError, ValueError):
        raise StartError(f"{path.name} cannot be read as JSON") from None
    if not isinstance(value, dict):
        raise StartError(f"{path.name} does not hold a JSON object")
    return value


def _no_manifest(folder: Path) -> str:
    return (
        f"{folder} has no {manifests.FILE_NAME}; say how it was trained with --recipe "
        f"{'|'.join(manifests.RECIPES)}, or write one: basereward checkpoint init {folder} --recipe …"
    )
