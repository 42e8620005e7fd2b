"""A checkpoint's tokenizer files, read, and the tokenizer for which control tokens are ordinary text."""

import json
import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from transformers import AutoTokenizer

from service.errors import StartError
from service.model.folder import LARGE_BYTES, exists, one_line, read_json
from service.model.template_files import PROCESSORS, read_template
from service.model.vocabulary import FILE, read_vocabulary

_MODEL_VALUES = (
    "dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback", "ignore_merges",
)  # fmt: skip


def read_tokenizer(folder: Path) -> Any:
    """The tokenizer with the processor's chat template.

    Raises:
        StartError: no tokenizer, or no chat template, in the folder; or a token has another id than its files say.
    """
    vocabulary = read_vocabulary(folder)
    file, template, _ = read_template(folder)
    with one_line(f"no usable tokenizer in {folder}"):
        tokenizer = AutoTokenizer.from_pretrained(
            folder, trust_remote_code=False, local_files_only=True
        )
        if not tokenizer.is_fast:
            raise StartError(f"the tokenizer of {folder} is of a class without a fast form")
        used = tokenizer.get_vocab()
    _check_pipeline(folder, json.loads(tokenizer.backend_tokenizer.to_str()))
    for token, number in vocabulary.ids.items():
        if used.get(token) != number:
            raise StartError(
                f"the tokenizer's files give {token} the id {number}; "
                f"transformers makes {used.get(token, 'no token')} of them"
            )
    if file in PROCESSORS:
        tokenizer.chat_template = template
    return tokenizer


def _check_pipeline(folder: Path, used: dict[str, Any]) -> None:
    """Transformers makes Qwen's pre-tokenizer itself: a file that states another one would be served with Qwen's.

    Raises:
        StartError: tokenizer.json states another.
    """
    if not exists(folder, FILE):
        return
    stated = read_json(folder, FILE, LARGE_BYTES)
    model, known = stated["model"], used["model"]
    pairs = [(f"model.{k}", model.get(k), known.get(k)) for k in _MODEL_VALUES]
    pairs += [(k, stated.get(k), used.get(k)) for k in ("normalizer", "pre_tokenizer")]
    for key, value, own in pairs:
        if _plain(value) != _plain(own):
            raise StartError(
                f"{FILE}: {key} is not served: transformers gives this model's tokenizer another "
                f"({json.dumps(own)[:80]})"
            )


def _plain(value: Any) -> Any:
    """Without what moves offsets only; nothing, false and empty are one."""
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items() if k != "trim_offsets"}
    return [_plain(v) for v in value] if isinstance(value, list) else value or None


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
