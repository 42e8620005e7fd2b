"""The image's files as the tests read them: locks, the Dockerfile's instructions, the compose file."""

import re
import tomllib
from pathlib import Path
from typing import Any

import yaml
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[2]
LOCKS = ROOT / "docker" / "locks"


def locked(name: str) -> dict[str, Version]:
    """Package to version. A line that is neither a version nor a hash fails here."""
    found: dict[str, Version] = {}
    hashes = 0
    for line in (LOCKS / f"{name}.txt").read_text("utf-8").splitlines():
        if re.fullmatch(r"    --hash=sha256:[0-9a-f]{64}( \\)?", line):
            hashes += 1
            continue
        pin = re.fullmatch(r"([a-z0-9-]+)==(\S+) \\", line)
        assert pin, f"{name}: {line}"
        assert hashes or not found, f"{name}: no hash before {line}"
        found[canonicalize_name(pin[1])] = Version(pin[2])
        hashes = 0
    assert hashes, f"{name}: no hash at the end"
    return found


def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def instructions() -> list[tuple[str, str]]:
    """(FROM, rest), …: continued lines joined, comments left out."""
    text = (ROOT / "Dockerfile").read_text("utf-8")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ").splitlines()
    split = (line.partition(" ") for line in joined)
    return [(word, " ".join(rest.split())) for word, _, rest in split]


def last_stage() -> list[tuple[str, str]]:
    every = instructions()
    start = max(i for i, (word, _) in enumerate(every) if word == "FROM")
    return every[start:]


def environment() -> dict[str, str]:
    pairs = (rest.split() for word, rest in last_stage() if word == "ENV")
    return dict(pair.split("=", 1) for words in pairs for pair in words)


def compose() -> dict[str, Any]:
    """The compose file with every variable at its default."""
    text = (ROOT / "docker" / "compose.yaml").read_text("utf-8")
    return yaml.safe_load(re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text))


def config(path: str) -> dict[str, Any]:
    return yaml.safe_load((ROOT / "docker" / path).read_text("utf-8"))
