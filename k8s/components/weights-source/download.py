"""Downloads one commit of a checkpoint, and lets nothing stand that SHA256SUMS does not name or has another digest."""

import hashlib
import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

SUMS = Path(__file__).with_name("SHA256SUMS")
WANTED = ["*.safetensors", "*.json", "*.jinja", "*.txt", "golden/*"]  # what the server reads
BLOCK = 2**20


def main() -> int:
    """Exit code 0 with a checked folder in its place, 1 with one line and none."""
    folder = Path(os.environ["WEIGHTS_FOLDER"])
    revision = os.environ["WEIGHTS_REVISION"]
    if not re.fullmatch(r"[0-9a-f]{40}", revision):
        return fail(f"WEIGHTS_REVISION must be a full commit, not {revision!r}")
    sums = expected(SUMS.read_text("utf-8"))
    if folder.is_dir() and not list(faults(folder, sums)):
        return 0  # an earlier try of this pod has brought it
    partial = folder.with_name(folder.name + ".partial")
    download(os.environ["WEIGHTS_REPOSITORY"], revision, partial)
    found = list(faults(partial, sums))
    if found:
        shutil.rmtree(partial)
        return fail("; ".join(found))
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)  # the server's path never holds half a checkpoint
    return 0


def expected(text: str) -> dict[str, str]:
    """File to digest, of lines as sha256sum writes them."""
    rows = (line.split(maxsplit=1) for line in text.splitlines() if line.strip())
    return {name.strip().removeprefix("*"): digest for digest, name in rows}


def faults(folder: Path, sums: dict[str, str]) -> Iterator[str]:
    """What keeps the folder from being the one that SHA256SUMS describes."""
    there = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    for name in sorted(sums.keys() - there):
        yield f"{name} is missing"
    for name in sorted(there - sums.keys()):
        yield f"{name} is not in SHA256SUMS"
    for name in sorted(there & sums.keys()):
        if digest(folder / name) != sums[name]:
            yield f"{name} has another SHA-256 than SHA256SUMS says"


def digest(path: Path) -> str:
    sha = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            sha.update(block)
    return sha.hexdigest()


def download(repository: str, revision: str, folder: Path) -> None:
    """A try that was cut short goes on where it stopped. The hub client's own notes do not stay."""
    from huggingface_hub import snapshot_download

    snapshot_download(repository, revision=revision, local_dir=folder, allow_patterns=WANTED)
    shutil.rmtree(folder / ".cache", ignore_errors=True)


def fail(reason: str) -> int:
    sys.stderr.write(f"weights: {reason}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
