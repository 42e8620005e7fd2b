"""The built image as the drill reads it: its configuration, its layers, its files."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

IMAGE = "localhost/basereward:cpu"


def buildah(*arguments: str) -> str:
    done = subprocess.run(["buildah", *arguments], check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout.strip()


def inspect() -> dict[str, Any]:
    return json.loads(buildah("inspect", "--type", "image", IMAGE))["Docker"]


def layers(image: dict[str, Any]) -> list[tuple[str, int]]:
    """What made each layer, and its bytes, from the base up."""
    store = json.loads(buildah("info"))["store"]
    folder = Path(store["GraphRoot"], f"{store['GraphDriverName']}-layers")
    known = json.loads((folder / "layers.json").read_text("utf-8"))
    sizes = {layer["diff-digest"]: layer["diff-size"] for layer in known if "diff-digest" in layer}
    made_by = [h.get("created_by", "") for h in image["history"] if not h.get("empty_layer")]
    digests = image["rootfs"]["diff_ids"]
    return [(by, sizes[digest]) for by, digest in zip(made_by, digests, strict=True)]


@contextmanager
def mounted() -> Iterator[Path]:
    container = buildah("from", IMAGE)
    try:
        yield Path(buildah("mount", container))
    finally:
        buildah("rm", container)
