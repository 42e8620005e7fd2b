"""What a folder without a manifest holds, and which training stacks' conventions fit it."""

from pathlib import Path
from typing import Any

from service.errors import StartError
from service.model import manifest as manifests
from service.model.checkpoint import open_checkpoint
from service.model.config import read_config
from service.model.folder import one_line
from service.model.processor import read_processor
from service.model.tensor_names import head_prefixes
from service.model.weights import stored_tensors


def survey(folder: Path) -> dict[str, Any]:
    """
    Raises:
        StartError: the folder is no checkpoint, whatever the manifest.
    """
    with one_line(str(folder)):
        config = read_config(folder)
        processor = read_processor(folder)
        stored = stored_tensors(folder)
    fits, refused = _recipes(folder)
    return {
        "folder": str(folder),
        "backbone": config["model_type"],
        "files": sorted({tensor.file for tensor in stored}),
        "weight_bytes": sum(tensor.bytes for tensor in stored),
        "tensors": len(stored),
        "heads_found": head_prefixes(tensor.name for tensor in stored),
        "processor": {"file": processor.file, **processor.effective},
        "manifest": None,
        "recipes_that_fit": fits,
        "recipes_refused": refused,
        "next": f"basereward checkpoint init {folder} --recipe {'|'.join(fits) or '…'}",
    }


def _recipes(folder: Path) -> tuple[list[str], dict[str, str]]:
    """A one-layer head has no activation between its layers, a deeper one has."""
    fits, refused = [], {}
    for name in manifests.RECIPES:
        try:
            checkpoint = open_checkpoint(folder, name)
        except StartError as error:
            refused[name] = str(error)
            continue
        layers = len(checkpoint.tensors.head)
        activation = checkpoint.manifest.head.activation
        if (layers > 1) == (activation != "none"):
            fits.append(name)
        else:
            refused[name] = f"the head has {layers} layers; the recipe has activation {activation}"
    return fits, refused
