"""A checkpoint's tokenizer files, read, and the tokenizer for which control tokens are ordinary text."""

import json
import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from transformers import AutoTokenizer

from service.errors import StartError


def read_tokenizer(folder: Path) -> Any:
    """The tokenizer with the processor's chat template.

    Raises:
        StartError: no tokenizer, or no chat template, in the folder.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            folder, trust_remote_code=False, local_files_only=True
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StartError(f"no usable tokenizer in {folder}: {one_line(error)}") from None
    tokenizer.chat_template = _processor_template(folder) or tokenizer.chat_template
    if not tokenizer.chat_template:
        raise StartError(f"{folder} has no chat template (chat_template.jinja)")
    return tokenizer


def control_ids(tokenizer: Any) -> dict[str, int]:
    """Every added token that structures a conversation: marked special, or spelled <|…|>."""
    return {
        str(token): index
        for index, token in tokenizer.added_tokens_decoder.items()
        if token.special or re.fullmatch(r"<\|.+\|>", str(token))
    }


def without_control(tokenizer: Any, control: Collection[str]) -> Tokenizer:
    """The same tokenizer for which control tokens are ordinary characters."""
    spec = json.loads(tokenizer.backend_tokenizer.to_str())
    spec["added_tokens"] = [t for t in spec["added_tokens"] if t["content"] not in control]
    spec["post_processor"] = spec["truncation"] = spec["padding"] = None
    return Tokenizer.from_str(json.dumps(spec))


def one_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def _processor_template(folder: Path) -> str | None:
    """The processor's template, which knows pictures, where it stands apart from the tokenizer's."""
    path = folder / "chat_template.json"
    if not path.is_file() or (folder / "chat_template.jinja").is_file():
        return None
    try:
        return str(json.loads(path.read_text("utf-8"))["chat_template"])
    except (ValueError, KeyError, TypeError):
        raise StartError("chat_template.json holds no chat template") from None
