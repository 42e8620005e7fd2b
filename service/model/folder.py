"""A checkpoint folder's files, read within bounds: regular, inside the folder, no larger than their kind may be."""

import json
import os
import stat
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from service.errors import StartError

CONFIG_BYTES = 2**20  # configs, manifests, chat templates
LARGE_BYTES = 64 * 2**20  # vocabularies, weight indexes, golden pictures
REASON_CHARS = 300
_LFS = b"version https://git-lfs.github.com/spec/"


def reason(error: BaseException) -> str:
    """What an exception of a library says, on one line; the end is cut, not the lines after the first."""
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    text = " ".join(str(error).split())
    if isinstance(error, KeyError):
        text += " is missing or not known"
    if len(text) > REASON_CHARS:
        text = text[:REASON_CHARS] + " …"
    return text or type(error).__name__


@contextmanager
def one_line(what: str) -> Iterator[None]:
    """Whatever a file makes the code raise is one line that names the file.

    Raises:
        StartError: in place of any exception.
    """
    try:
        yield
    except StartError:
        raise
    except Exception as error:  # noqa: BLE001 - the files of others decide what is raised
        raise StartError(f"{what}: {reason(error)}") from None


def resolved(folder: Path, name: str) -> Path | None:
    """The file behind a name, links followed; None if there is none.

    A file stands in the folder itself. In a snapshot of the hub's cache (`snapshots/COMMIT`) it may be a link into
    the `blobs` of the same repository.

    Raises:
        StartError: the name or a link leads elsewhere, or to something that is no regular file.
    """
    shown = name if len(name) <= REASON_CHARS else name[:REASON_CHARS] + " …"
    try:
        path = (folder / name).resolve()
        known = path.stat()
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RuntimeError):  # too long, a NUL, a loop of links
        raise StartError(f"{shown!r} cannot be the name of a checkpoint's file") from None
    root = folder.resolve()
    roots = [root, root.parent.parent / "blobs"] if root.parent.name == "snapshots" else [root]
    if not any(path.is_relative_to(allowed) for allowed in roots):
        raise StartError(f"{shown} leads outside the checkpoint folder; put the file itself there")
    if not stat.S_ISREG(known.st_mode):
        raise StartError(f"{shown} is not a regular file")
    return path


def exists(folder: Path, name: str) -> bool:
    return resolved(folder, name) is not None


@contextmanager
def opened(folder: Path, name: str) -> Iterator[tuple[BinaryIO, int]]:
    """A file of the folder and its size in bytes.

    Raises:
        StartError: it is missing, cannot be read, or is no file of the folder.
    """
    path = resolved(folder, name)
    if path is None:
        raise StartError(f"{folder} is no checkpoint: {name} is missing")
    try:
        # Not blocking: the file may have become a FIFO since it was looked at.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError as error:
        raise StartError(f"{name} cannot be read: {error.strerror}") from None
    with os.fdopen(descriptor, "rb") as file:
        if file.read(len(_LFS)) == _LFS:
            raise StartError(f"{name} is a git-lfs pointer, not the file: run git lfs pull")
        file.seek(0)
        yield file, os.fstat(descriptor).st_size


def read_bytes(folder: Path, name: str, limit: int) -> bytes:
    """
    Raises:
        StartError: as `opened`, or it is larger than the limit.
    """
    with opened(folder, name) as (file, size):
        if size > limit:
            raise StartError(f"{name} has {size} bytes; at most {limit} are read")
        return file.read(limit)


def read_text(folder: Path, name: str, limit: int = CONFIG_BYTES) -> str:
    """
    Raises:
        StartError: as `read_bytes`, or it is not UTF-8.
    """
    try:
        return read_bytes(folder, name, limit).decode("utf-8")
    except UnicodeDecodeError:
        raise StartError(f"{name} is not UTF-8 text") from None


def read_json(folder: Path, name: str, limit: int = CONFIG_BYTES) -> dict[str, Any]:
    """
    Raises:
        StartError: as `read_text`, or it holds no JSON object, or states a key twice.
    """
    return parsed(read_text(folder, name, limit), name)


def parsed(text: str | bytes, name: str) -> dict[str, Any]:
    """
    Raises:
        StartError: the text of that file is no JSON object, or states a key twice.
    """
    try:
        value = json.loads(text, object_pairs_hook=_once)
    except RecursionError:
        raise StartError(f"{name} cannot be read as JSON: it is nested too deeply") from None
    except KeyError as error:
        raise StartError(f"{name} states {str(error)[:REASON_CHARS]} twice") from None
    except ValueError:
        raise StartError(f"{name} cannot be read as JSON") from None
    if not isinstance(value, dict):
        raise StartError(f"{name} does not hold a JSON object")
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        ((twice, _),) = Counter(key for key, _ in pairs).most_common(1)
        raise KeyError(twice)
    return value
