"""Random-weight checkpoints of any size and layout: for speed work at real sizes and for loader tests."""

import json
import math
import shutil
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import save_file
from torch import Tensor

from service.errors import StartError
from service.model import manifest as manifests
from service.model.backbone import expected_shapes
from service.model.manifest import HeadRules, Manifest, PixelRules
from service.model.presets import PRESETS, make_config
from service.model.weights import HEAD_FILES, INDEX

HeadLayout = Literal["score-dense", "score-seq", "rm_head", "score", "v_head", "value_head_file"]
PrefixFamily = Literal["old", "new", "bare"]
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")
_DTYPES = {"bfloat16": torch.bfloat16, "float32": torch.float32}


@dataclass(frozen=True, slots=True)
class RandomSpec:
    preset: str = "tiny"
    model_type: str = "qwen2_5_vl"
    head: HeadLayout = "score-dense"
    family: PrefixFamily = "old"
    shard_bytes: int = 4 * 2**30
    dtype: str = "bfloat16"
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Entry:
    """One tensor to write."""

    stored: str
    canonical: str
    shape: tuple[int, ...]

    def bytes(self, spec: RandomSpec) -> int:
        return math.prod(self.shape) * _DTYPES[spec.dtype].itemsize


def write_random(
    spec: RandomSpec,
    folder: Path,
    tokenizer_from: Path,
    progress: Callable[[int], None] = lambda _: None,
) -> None:
    """Write a complete checkpoint. A tensor's values depend on the seed and its canonical name alone,
    so that the same model can be written in any layout and sharding.

    Raises:
        StartError: no such preset, or the folder is not empty.
    """
    config = _make_config(spec, tokenizer_from)
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise StartError(f"{folder} is not empty")
    for name in _TOKENIZER_FILES:
        shutil.copyfile(tokenizer_from / name, folder / name)
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", "utf-8")
    _write_shards(spec, config, folder, progress)
    manifests.write(_manifest(spec), folder)


def random_bytes(spec: RandomSpec, tokenizer_from: Path) -> int:
    """How many bytes of weights `write_random` will write."""
    return sum(entry.bytes(spec) for entry in _entries(spec, _make_config(spec, tokenizer_from)))


def _make_config(spec: RandomSpec, tokenizer_from: Path) -> dict[str, Any]:
    if spec.preset not in PRESETS:
        raise StartError(f"unknown preset {spec.preset!r}; known: {', '.join(PRESETS)}")
    ids = json.loads((tokenizer_from / "config.json").read_text("utf-8"))
    return make_config(spec.preset, spec.model_type, spec.dtype, ids)


def _write_shards(
    spec: RandomSpec, config: dict[str, Any], folder: Path, progress: Callable[[int], None]
) -> None:
    entries = list(_entries(spec, config))
    if spec.head == "value_head_file":
        apart = [e for e in entries if e.canonical.startswith("head.")]
        entries = [e for e in entries if e not in apart]
        _save(apart, spec, folder / HEAD_FILES[0], progress)
    shards = _fill_shards(entries, spec)
    weight_map: dict[str, str] = {}
    for number, shard in enumerate(shards, start=1):
        name = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        name = name if len(shards) > 1 else "model.safetensors"
        _save(shard, spec, folder / name, progress)
        weight_map |= {entry.stored: name for entry in shard}
    if len(shards) > 1:
        total = sum(entry.bytes(spec) for entry in entries)
        index = {"metadata": {"total_size": total}, "weight_map": weight_map}
        (folder / INDEX).write_text(json.dumps(index, indent=2) + "\n", "utf-8")


def _fill_shards(entries: list[Entry], spec: RandomSpec) -> list[list[Entry]]:
    shards: list[list[Entry]] = [[]]
    for entry in entries:
        held = sum(e.bytes(spec) for e in shards[-1])
        if shards[-1] and held + entry.bytes(spec) > spec.shard_bytes:
            shards.append([])
        shards[-1].append(entry)
    return shards


def _save(
    entries: list[Entry], spec: RandomSpec, path: Path, progress: Callable[[int], None]
) -> None:
    tensors = {}
    for entry in entries:
        tensors[entry.stored] = _values(entry, spec)
        progress(entry.bytes(spec))
    save_file(tensors, path, metadata={"format": "pt"})


def _entries(spec: RandomSpec, config: dict[str, Any]) -> Iterator[Entry]:
    for name, shape in expected_shapes(config).items():
        yield Entry(_stored_name(name, spec.family), name, shape)
    for stored, name, shape in _head_tensors(spec.head, int(config["hidden_size"])):
        yield Entry(stored, name, shape)


def _stored_name(canonical: str, family: PrefixFamily) -> str:
    if family == "new":
        return f"model.{canonical}"
    if family == "old" and canonical.startswith("language_model."):
        return "model." + canonical.removeprefix("language_model.")
    return canonical


def _head_tensors(layout: HeadLayout, hidden: int) -> list[tuple[str, str, tuple[int, ...]]]:
    """(stored name, canonical name, shape) of the head's tensors."""
    two = {
        "score-dense": ("score.dense", "score.out_proj"),
        "score-seq": ("score.0", "score.2"),
        "rm_head": ("rm_head.dense", "rm_head.out_proj"),
    }
    if layout in two:
        first, last = two[layout]
        return [
            (f"{first}.weight", "head.0.weight", (hidden, hidden)),
            (f"{first}.bias", "head.0.bias", (hidden,)),
            (f"{last}.weight", "head.1.weight", (1, hidden)),
            (f"{last}.bias", "head.1.bias", (1,)),
        ]
    if layout == "score":
        return [("score.weight", "head.0.weight", (1, hidden))]
    return [
        ("v_head.summary.weight", "head.0.weight", (1, hidden)),
        ("v_head.summary.bias", "head.0.bias", (1,)),
    ]


def _values(entry: Entry, spec: RandomSpec) -> Tensor:
    canonical, shape, dtype = entry.canonical, entry.shape, _DTYPES[spec.dtype]
    if canonical.endswith("bias"):
        return torch.zeros(shape, dtype=dtype)
    if len(shape) == 1:
        return torch.ones(shape, dtype=dtype)
    generator = torch.Generator().manual_seed(zlib.crc32(f"{spec.seed}/{canonical}".encode()))
    # Wide enough that a tiny model's rewards spread; narrow enough that a deep one's stay finite.
    scale = 1.0 / max(shape[-1], 1) ** 0.5 if len(shape) == 2 else 0.05  # noqa: PLR2004 - a matrix
    return torch.randn(shape, generator=generator, dtype=torch.float32).mul_(scale).to(dtype)


def _manifest(spec: RandomSpec) -> Manifest:
    prefix = {"rm_head": "rm_head", "v_head": "v_head", "value_head_file": "v_head"}.get(
        spec.head, "score"
    )
    activation: manifests.Activation = (
        "none" if spec.head in ("score", "v_head", "value_head_file") else "silu"
    )
    pixels = PixelRules(max=50_176) if spec.preset == "tiny" else PixelRules()
    return Manifest(
        head=HeadRules(prefix=prefix, activation=activation),
        pool="last_strip_newline",
        pixels=pixels,
    )
