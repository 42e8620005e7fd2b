"""A checkpoint's name to its folder: a local one, or a hub id; and what a folder is that is no checkpoint."""

import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from service.errors import StartError
from service.model.folder import exists, read_json, reason

ADAPTER = "adapter_config.json"
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_HUB_FILES = ("*.safetensors", "*.json", "*.jinja", "*.txt", "golden/*")
# Where trainers write, and what they call what they write: no owner and no name on the hub.
_LOCAL_PARENT = re.compile(
    r"(?i)(outputs?|checkpoints?|ckpts?|models?|runs?|results?|saves?|exp|experiments?|logs?|work|data|tmp|mnt|home)"
)
_LOCAL_NAME = re.compile(
    r"(?i)(checkpoint|ckpt|(global_?)?step|epoch|iter|v\d+)[-_]?\d.*|last|final|best"
)
_MOST_ENTRIES = 1000  # of a folder that are looked at for a hint
_NAME_CHARS = 200


def locate(source: str, revision: str | None = None) -> Path:
    """The folder of a local path or a hub id.

    Raises:
        StartError: it is neither, or the hub cannot give it.
    """
    path = Path(source)
    try:
        if path.is_dir():
            return path
        is_file = path.is_file()
    except (OSError, ValueError):
        is_file = False
    if is_file:
        raise StartError(
            f"no checkpoint folder {source!r}: it is a file; give its folder, {str(path.parent)!r}"
        )
    if not _HUB_ID.fullmatch(source) or _is_local(path):
        raise StartError(_no_folder(source))
    return _download(source, revision)


def _is_local(path: Path) -> bool:
    parent = path.parent
    written = _LOCAL_PARENT.fullmatch(parent.name) or _LOCAL_NAME.fullmatch(path.name)
    return path.exists() or parent.is_dir() or bool(written)


def _no_folder(source: str) -> str:
    path, shown = Path(source), source[:_NAME_CHARS]
    line = f"no checkpoint folder {shown!r} (seen from {str(Path.cwd())!r})"
    beside = _folders(path.parent)
    if beside:
        return f"{line}; {str(path.parent)!r} holds {', '.join(beside)}"
    return line if "/" in shown.strip("/") else f"{line}, and it is not a hub id (owner/name)"


def _folders(path: Path) -> list[str]:
    try:
        names = (p.name for p in islice(path.iterdir(), _MOST_ENTRIES) if p.is_dir())
        return sorted(name for name in names if not name.startswith("."))[:5]
    except (OSError, ValueError):
        return []


def _download(repo_id: str, revision: str | None) -> Path:
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        folder = snapshot_download(
            repo_id,
            revision=revision,
            allow_patterns=list(_HUB_FILES),
            local_files_only=constants.HF_HUB_OFFLINE,
        )
    except LocalEntryNotFoundError:
        raise StartError(
            f"no checkpoint folder {repo_id!r}; as a hub id, {repo_id} is not in the local cache, "
            "and the hub does not answer"
        ) from None
    except (HfHubHTTPError, OSError, ValueError) as error:
        raise StartError(
            f"the hub does not give {repo_id}@{revision or 'main'}: {reason(error)}"
        ) from None
    return Path(folder)


def no_config(folder: Path) -> str:
    """Why a folder without config.json is no checkpoint, and which is."""
    if (adapter := adapter_line(folder)) is not None:
        return adapter
    line = f"{folder} is no checkpoint: config.json is missing"
    below = list(islice(_checkpoints_below(folder), 5))
    return f"{line}; there is {', '.join(below)} below: give that folder" if below else line


def adapter_line(folder: Path) -> str | None:
    """What to do with an adapter, or None if the folder holds none."""
    stated = exists(folder, ADAPTER)
    weights = sorted(p.name for p in folder.glob("adapter_model*"))
    if not stated and not weights:
        return None
    values = read_json(folder, ADAPTER) if stated else {}
    base = str(values.get("base_model_name_or_path") or "unknown")[:_NAME_CHARS]
    return (
        f"{ADAPTER if stated else weights[0]}: the folder holds an adapter of the base model {base!r}, "
        "not a whole checkpoint; merge it (swift export --adapters DIR --merge_lora true, llamafactory-cli export, "
        "or peft's merge_and_unload and save_pretrained; the head must be saved along), "
        "or remove adapter_* if it is merged already"
    )


def _checkpoints_below(folder: Path) -> Iterator[str]:
    """Folders, at most two levels down, that hold a config.json or are called as trainers call them."""
    try:
        levels = [
            islice(folder.iterdir(), _MOST_ENTRIES),
            islice(folder.glob("*/*"), _MOST_ENTRIES),
        ]
        for level in levels:
            folders = sorted(p for p in level if p.is_dir())
            found = [p for p in folders if any((p / n).is_file() for n in ("config.json", ADAPTER))]
            found = found or [p for p in folders if re.fullmatch(r"checkpoint-\d+", p.name)]
            if found:
                yield from (str(p.relative_to(folder)) for p in found)
                return
    except OSError:
        return
