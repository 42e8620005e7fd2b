"""Downloads one commit of a checkpoint, and lets nothing stand that SHA256SUMS does not name or has another digest.

`python download.py FOLDER` downloads nothing: it prints SHA256SUMS for a checkpoint that is there.
"""

import hashlib
import os
import re
import shutil
import sys
from fnmatch import fnmatchcase
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
    if folder.is_dir() and not faults(folder, sums):
        return 0  # an earlier try of this pod has brought it
    partial = folder.with_name(folder.name + ".partial")
    download(os.environ["WEIGHTS_REPOSITORY"], revision, partial)
    found = faults(partial, sums)
    for name in found:  # the next try downloads these alone
        (partial / name).unlink(missing_ok=True)
    if found:
        return fail("; ".join(f"{name} {fault}" for name, fault in found.items()))
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)  # the server's path never holds half a checkpoint
    return 0


def expected(text: str) -> dict[str, str]:
    """File to digest, of lines as sha256sum writes them."""
    rows = (line.split(maxsplit=1) for line in text.splitlines() if line.strip())
    return {name.strip().removeprefix("*"): digest for digest, name in rows}


def faults(folder: Path, sums: dict[str, str]) -> dict[str, str]:
    """What keeps the folder from being the one that SHA256SUMS describes, by file."""
    there = files(folder)
    return (
        dict.fromkeys(sorted(sums.keys() - there), "is missing")
        | dict.fromkeys(sorted(there - sums.keys()), "is not in SHA256SUMS")
        | {
            name: "has another SHA-256 than SHA256SUMS says"
            for name in sorted(there & sums.keys())
            if digest(folder / name) != sums[name]
        }
    )


def write_sums(folder: Path) -> int:
    """Of the files that a download would bring, as sha256sum writes them."""
    names = [n for n in sorted(files(folder)) if any(fnmatchcase(n, pattern) for pattern in WANTED)]
    sys.stdout.writelines(f"{digest(folder / name)}  {name}\n" for name in names)
    return 0 if names else fail(f"{folder} holds no checkpoint")


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


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
    sys.exit(write_sums(Path(sys.argv[1])) if sys.argv[1:] else main())
