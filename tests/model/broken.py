"""The demo checkpoint, to be broken in one way: each a short change of one folder."""

import json
import struct
from collections.abc import Callable
from pathlib import Path

from safetensors.torch import load_file, save_file

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
Change = Callable[[Path], object]


def read(folder: Path, name: str) -> dict:
    return json.loads((folder / name).read_text("utf-8"))


def write(folder: Path, name: str, value: object) -> None:
    (folder / name).write_text(value if isinstance(value, str) else json.dumps(value), "utf-8")


def stating(name: str, **changes) -> Change:
    """The file with other values at its top level."""
    return lambda folder: write(folder, name, read(folder, name) | changes)


def nested(name: str, part: str, **changes) -> Change:
    """The file with other values in one of its objects."""

    def change(folder: Path) -> None:
        values = read(folder, name)
        values[part] = values.get(part, {}) | changes
        write(folder, name, values)

    return change


def renamed(new_name: Callable[[str], str]) -> Change:
    def change(folder: Path) -> None:
        save_file({new_name(k): v for k, v in tensors(folder).items()}, folder / WEIGHTS)

    return change


def tensors(folder: Path) -> dict:
    return load_file(folder / WEIGHTS)


def header(**changes) -> Change:
    """The first tensor's entry in the header of the weights with other values."""

    def change(folder: Path) -> None:
        data = (folder / WEIGHTS).read_bytes()
        (length,) = struct.unpack("<Q", data[:8])
        values = json.loads(data[8 : 8 + length])
        name = next(key for key in values if key != "__metadata__")
        values[name] |= changes
        raw_header(json.dumps(values).encode(), data[8 + length :])(folder)

    return change


def raw_header(text: bytes, rest: bytes = b"") -> Change:
    return lambda folder: (folder / WEIGHTS).write_bytes(struct.pack("<Q", len(text)) + text + rest)


def index(target: str | None = None, *extra: str) -> Change:
    """An index that sends every tensor, and the extra ones, to one file; unset: to two shards that stand there."""

    def change(folder: Path) -> None:
        stored = tensors(folder)
        if target is not None:
            write(folder, INDEX, {"weight_map": dict.fromkeys([*stored, *extra], target)})
            return
        where = {
            name: f"model-0000{i % 2 + 1}-of-00002.safetensors" for i, name in enumerate(stored)
        }
        for file in set(where.values()):
            save_file({n: stored[n] for n in where if where[n] == file}, folder / file)
        write(folder, INDEX, {"weight_map": where})

    return change


def two_files(folder: Path) -> None:
    """vocab.json and merges.txt in place of tokenizer.json, with the added tokens' ids beside them."""
    whole = read(folder, "tokenizer.json")
    (folder / "tokenizer.json").unlink()
    write(folder, "vocab.json", whole["model"]["vocab"])
    merges = [m if isinstance(m, str) else " ".join(m) for m in whole["model"]["merges"]]
    write(folder, "merges.txt", "\n".join(["#version: 0.2", *merges]) + "\n")
    write(folder, "added_tokens.json", {t["content"]: t["id"] for t in whole["added_tokens"]})


def tokenizer(change: Callable[[dict], object]) -> Change:
    def changed(folder: Path) -> None:
        whole = read(folder, "tokenizer.json")
        change(whole)
        write(folder, "tokenizer.json", whole)

    return changed


def swapped(first: str, second: str) -> Change:
    """Two added tokens with each other's id."""

    def change(whole: dict) -> None:
        tokens = {t["content"]: t for t in whole["added_tokens"]}
        a, b = tokens[first], tokens[second]
        a["id"], b["id"] = b["id"], a["id"]

    return tokenizer(change)


def then(*changes: Change) -> Change:
    def change(folder: Path) -> None:
        for one in changes:
            one(folder)

    return change
