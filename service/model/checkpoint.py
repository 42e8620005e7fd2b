"""A checkpoint as its files state it: config, manifest, tokenizer, tensor headers; judged before any weight is read."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from service.errors import StartError
from service.model import manifest as manifests
from service.model.config import check_sizes, embedding_rows, read_config
from service.model.folder import LARGE_BYTES, exists, one_line, read_bytes
from service.model.manifest import Manifest
from service.model.processor import Processor, built_sizes, read_processor
from service.model.template_files import read_template
from service.model.tensors import TensorMap
from service.model.vocabulary import check_ids, read_vocabulary
from service.model.weights import read_tensors


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A folder whose files fit together; weights not read yet."""

    folder: Path
    config: dict[str, Any]
    manifest: Manifest
    recipe: str | None  # the manifest came from it, not from a file
    tensors: TensorMap
    processor: Processor
    warnings: tuple[str, ...] = ()  # of files that contradict each other

    @property
    def model_type(self) -> str:
        return str(self.config["model_type"])

    @property
    def weight_bytes(self) -> int:
        """Stored bytes of everything that is read."""
        return sum(tensor.bytes for tensor in self.tensors.served)


def open_checkpoint(folder: Path, recipe: str | None = None) -> Checkpoint:
    """Read everything but the weights.

    Raises:
        StartError: a file is missing or at odds with another; one line that says which.
    """
    with one_line(str(folder)):
        config = read_config(folder)
        processor = _processor(folder, config)
        manifest = manifests.read(folder)
        if manifest is None:
            if recipe is None:
                raise StartError(_no_manifest(folder))
            manifest = manifests.from_recipe(
                recipe, config, processor.rules(manifests.PixelRules())
            )
        elif recipe is not None:
            raise StartError(
                f"{folder} has a {manifests.FILE_NAME}; drop --recipe {recipe}, or the file"
            )
        tensors = read_tensors(folder, manifest.head.prefix)
        with one_line("config.json"):
            check_sizes(config, tensors)
        with one_line("the tokenizer's files"):
            check_ids(read_vocabulary(folder), config, embedding_rows(tensors))
        for golden in manifest.golden:
            if golden.image is not None:
                read_golden(folder, golden.image)
        _, _, templates = read_template(folder)
        warnings = (*templates, *processor.warnings, *processor.contradictions(manifest.pixels))
        return Checkpoint(folder, config, manifest, recipe, tensors, processor, warnings)


def describe(folder: Path, recipe: str, changes: dict[str, dict[str, Any] | str]) -> Manifest:
    """The manifest that a recipe implies for a folder, with changes; the folder has such a head.

    Raises:
        StartError: the folder is no checkpoint, or it has no such head.
    """
    with one_line(str(folder)):
        config = read_config(folder)
        rules = _processor(folder, config).rules(manifests.PixelRules())
        values = manifests.from_recipe(recipe, config, rules).model_dump(mode="json")
        for key, change in changes.items():
            values[key] = values[key] | change if isinstance(change, dict) else change
        manifest = manifests.validated(values)
        read_tensors(folder, manifest.head.prefix)
        return manifest


def read_golden(folder: Path, name: str) -> bytes:
    """
    Raises:
        StartError: there is no such picture in the folder.
    """
    try:
        if exists(folder, name):
            return read_bytes(folder, name, LARGE_BYTES)
    except StartError as error:
        raise StartError(f"golden picture: {error}") from None
    raise StartError(f"golden picture {name} is missing")


def _processor(folder: Path, config: dict[str, Any]) -> Processor:
    processor = read_processor(folder)
    built_sizes(processor, config.get("vision_config", {}))
    return processor


def _no_manifest(folder: Path) -> str:
    return (
        f"{folder} has no {manifests.FILE_NAME}; say how it was trained with --recipe "
        f"{'|'.join(manifests.RECIPES)}, or write one: basereward checkpoint init {folder} --recipe …"
    )
