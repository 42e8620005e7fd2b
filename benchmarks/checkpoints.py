"""The random-weight checkpoints that every system loads, written once into the cache; no weights are loaded here."""

import json
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import save_file

CACHE = Path(__file__).parent / ".cache"
_SAY_EVERY_S = 5.0
_WEIGHTS = "model.safetensors"
_HEAD = "score.weight"
_VLLM_HEAD = "language_model.score.weight"


def ensure(preset: str, dtype: str = "float32", cache: Path = CACHE) -> Path:
    """The folder of the preset's checkpoint: one linear head without bias, pooled at the last token.

    The last token, because that is the one vLLM's classifier pools: every system computes one function.
    """
    folder = cache / f"{preset}-{dtype}"
    if not (folder / "complete").exists():
        shutil.rmtree(folder, ignore_errors=True)
        _write(preset, dtype, folder)
        (folder / "complete").touch()
    return folder


def ensure_for_vllm(source: Path) -> Path:
    """The same weights under the names, and with the head, that vLLM's stock classifier asks for."""
    folder = source.with_name(source.name + "-vllm")
    if not (folder / "complete").exists():
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(source, folder, ignore=shutil.ignore_patterns("*.safetensors", "complete"))
        with safe_open(source / _WEIGHTS, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        tensors[_VLLM_HEAD] = tensors.pop(_HEAD)
        save_file(tensors, folder / _WEIGHTS, metadata={"format": "pt"})
        _classifier_config(folder)
        (folder / "complete").touch()
    return folder


def config(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "config.json").read_text("utf-8")))


def _write(preset: str, dtype: str, folder: Path) -> None:
    from service import demo
    from service.model import manifest as manifests
    from service.model.random_checkpoint import RandomSpec, random_bytes, write_random

    spec = RandomSpec(preset=preset, head="score", family="old", dtype=dtype)
    tokenizer, what = demo.checkpoint_folder(), f"writing the checkpoint {preset} ({dtype})"
    write_random(spec, folder, tokenizer, _Progress(what, random_bytes(spec, tokenizer)))
    values = json.loads((folder / manifests.FILE_NAME).read_text("utf-8")) | {"pool": "last"}
    manifest = manifests.validated(values)
    manifests.write(manifest, folder)
    processor = {
        "image_processor_type": "Qwen2VLImageProcessor",
        "processor_class": "Qwen2_5_VLProcessor",
        "min_pixels": manifest.pixels.min,
        "max_pixels": manifest.pixels.max,
        "patch_size": 14,
        "temporal_patch_size": 2,
        "merge_size": 2,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(processor, indent=2), "utf-8")


class _Progress:
    """A line at once, and then every few seconds."""

    def __init__(self, what: str, total_bytes: int) -> None:
        self._what, self._total = what, total_bytes
        self._done, self._said_at = 0, time.monotonic()
        sys.stderr.write(what + "\n")

    def __call__(self, count: int) -> None:
        self._done += count
        if time.monotonic() - self._said_at > _SAY_EVERY_S:
            self._said_at = time.monotonic()
            sys.stderr.write(f"{self._what}: {self._done / self._total:.0%}\n")


def _classifier_config(folder: Path) -> None:
    classifier = {"architectures": ["Qwen2_5_VLForSequenceClassification"], "num_labels": 1}
    values = config(folder) | classifier
    (folder / "config.json").write_text(json.dumps(values, indent=2), "utf-8")
