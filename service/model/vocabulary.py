"""A checkpoint's tokenizer files: is there a vocabulary, is it whole, and does every file give a token the same id."""

from collections.abc import Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from service.errors import StartError
from service.model.folder import LARGE_BYTES, exists, read_bytes, read_json, read_text

FILE = "tokenizer.json"
CONFIG = "tokenizer_config.json"
ADDED = "added_tokens.json"
OTHERS = ("special_tokens_map.json", "chat_template.json", "chat_template.jinja", "tokenizer.model")
_COPY = "copy the tokenizer's files from the base model, or save them again with save_pretrained"
# Of config.json, and the tokens of Qwen's templates that they name.
_NAMED = {
    "image_token_id": "<|image_pad|>",
    "video_token_id": "<|video_pad|>",
    "vision_start_token_id": "<|vision_start|>",
    "vision_end_token_id": "<|vision_end|>",
}
_ENDS = ("<|im_end|>", "<|endoftext|>")
_FLAGS = ("lstrip", "rstrip", "single_word")
_SPECIAL = ("bos_token", "eos_token", "unk_token", "pad_token")


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Tokens by id as the files state them."""

    ids: dict[str, int]
    added: dict[str, int]  # those of `ids` that are not of the model
    special: frozenset[str]  # that tokenizer_config.json names as eos_token, pad_token, …


def read_vocabulary(folder: Path) -> Vocabulary:
    """
    Raises:
        StartError: no vocabulary, one cut short, or files that give one token two ids; names the file.
    """
    for name in OTHERS:  # transformers opens them by itself
        if exists(folder, name):
            read_bytes(folder, name, LARGE_BYTES)
    config = read_json(folder, CONFIG, LARGE_BYTES) if exists(folder, CONFIG) else {}
    _check_config(config)
    file, model, added = _whole_file(folder) if exists(folder, FILE) else _two_files(folder)
    for origin, stated in ((ADDED, _added_file(folder)), (CONFIG, _decoder(config))):
        for token, number in stated.items():
            known = added.setdefault(token, model["vocab"].get(token, number))
            if known != number:
                raise StartError(
                    f"{origin}: {token} is token {number}; {file} says {known}: {_COPY}"
                )
    _check_merges(file, model["vocab"].keys() - added.keys(), _made(model))
    if file != FILE and not added.keys() & set(_NAMED.values()):
        raise StartError(
            f"nothing states the ids of the added tokens ({_NAMED['image_token_id']} …): "
            f"{ADDED} or added_tokens_decoder of {CONFIG} is missing; {_COPY}"
        )
    _check_ids(file, model["vocab"], added)
    special = frozenset(t for key in _SPECIAL if (t := _content(config.get(key))) is not None)
    return Vocabulary(model["vocab"] | added, added, special)


def check_ids(vocabulary: Vocabulary, config: dict[str, Any], rows: int | None) -> None:
    """Hold the tokens' ids against config.json and the rows of the embedding.

    Raises:
        StartError: another model's tokenizer, or one with more tokens than rows.
    """
    last, number = max(vocabulary.ids.items(), key=lambda pair: pair[1])
    if rows is not None and number >= rows:
        raise StartError(
            f"the tokenizer's largest id is {number} ({last}); the embedding has {rows} rows: "
            "resize the embedding and train it, or put the tokenizer there that the model was trained with"
        )
    by_id = {n: token for token, n in vocabulary.ids.items()}
    for key, token in _NAMED.items():
        for stated in _ids(config, key):
            if vocabulary.ids.get(token) != stated:
                raise StartError(
                    f"config.json: {key} is {stated}; in the tokenizer {token} is "
                    f"{vocabulary.ids.get(token, 'absent')}: {_COPY}"
                )
    for key in ("eos_token_id", "bos_token_id"):
        for stated in _ids(config, key):
            token = by_id.get(stated, "no token")
            if token not in {*_ENDS, *vocabulary.special}:
                raise StartError(
                    f"config.json: {key} is {stated}, in the tokenizer {token}, which ends nothing: {_COPY}"
                )


def _ids(config: dict[str, Any], key: str) -> list[int]:
    """Every id that config.json states under a key, at the top and in text_config."""
    parts = [config, config.get("text_config")]
    values = [part.get(key) for part in parts if isinstance(part, dict)]
    flat = [n for value in values for n in (value if isinstance(value, list) else [value])]
    for value in flat:
        if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
            raise StartError(f"config.json: {key} = {value!r} is no token id")
    return [value for value in flat if value is not None]


def _check_config(config: dict[str, Any]) -> None:
    for key in ("split_special_tokens", "add_bos_token", "add_eos_token"):
        if config.get(key):
            raise StartError(f"{CONFIG}: {key} = {config[key]!r} is not served")
    for token in (config.get("added_tokens_decoder") or {}).values():
        _check_flags(token, CONFIG)


def _check_flags(token: object, file: str) -> None:
    """A control token takes no character beside it away: texts are cut at the very token."""
    if not isinstance(token, dict) or not isinstance(token.get("content"), str):
        raise StartError(f"{file}: an added token has no content")
    if file == FILE and "id" not in token:
        raise StartError(f"{file}: the added token {token['content']} has no id")
    control = token.get("special") or token["content"].startswith("<|")
    for flag in _FLAGS:
        if control and token.get(flag):
            raise StartError(f"{file}: {flag} of {token['content']} is not served")


def _whole_file(folder: Path) -> tuple[str, dict[str, Any], dict[str, int]]:
    whole = read_json(folder, FILE, LARGE_BYTES)
    model, tokens = whole.get("model"), whole.get("added_tokens") or []
    kind = model.get("type", "BPE") if isinstance(model, dict) else None
    if not isinstance(model, dict) or kind != "BPE":
        raise StartError(f"{FILE}: a model of type {kind!r} is not served; Qwen's BPE is")
    for key, value in (("vocab", {}), ("merges", [])):
        if not isinstance(model.get(key), type(value)) or not model[key]:
            raise StartError(f"{FILE} has no vocabulary: model.{key} is empty; {_COPY}")
    processor = whole.get("post_processor")
    if isinstance(processor, dict) and processor.get("special_tokens"):
        names = ", ".join(processor["special_tokens"])
        raise StartError(f"{FILE}: a post_processor that adds {names} is not served")
    for token in tokens:
        _check_flags(token, FILE)
    return FILE, model, {token["content"]: token["id"] for token in tokens}


def _two_files(folder: Path) -> tuple[str, dict[str, Any], dict[str, int]]:
    """vocab.json and merges.txt, which hold no added tokens."""
    missing = [name for name in ("vocab.json", "merges.txt") if not exists(folder, name)]
    if missing:
        also = "" if len(missing) == 1 else f" (and no {' and '.join(missing)})"
        lost = FILE if also else f"{FILE} (or {missing[0]})"
        raise StartError(f"no vocabulary: {lost} is missing{also}; {_COPY}")
    lines = read_text(folder, "merges.txt", LARGE_BYTES).split("\n")
    merges = [
        line.rstrip("\r") for line in lines if line.strip() and not line.startswith("#version")
    ]
    vocab = read_json(folder, "vocab.json", LARGE_BYTES)
    for name, held in (("vocab.json", vocab), ("merges.txt", merges)):
        if not held:
            raise StartError(f"no vocabulary: {name} is empty; {_COPY}")
    return "vocab.json", {"vocab": vocab, "merges": merges}, {}


def _made(model: dict[str, Any]) -> set[str]:
    merges = (m.split(" ") if isinstance(m, str) else m for m in model["merges"])
    return {"".join(map(str, pair)) for pair in merges}


def _check_merges(file: str, vocab: Set[str], made: Set[str]) -> None:
    """Each token of several characters is made by a merge: without it, its texts fall apart to other tokens."""
    unmade = sorted(t for t in vocab if len(t) > 1 and t not in made and not t.startswith("<|"))
    if unmade:
        name = "merges.txt" if file == "vocab.json" else file
        raise StartError(
            f"{name} is cut short: no merge makes {unmade[0]!r} ({len(unmade)} of {len(vocab)} tokens); {_COPY}"
        )
    unknown = made - vocab
    if unknown:
        raise StartError(f"{file} is cut short: a merge makes {min(unknown)!r}, which is no token")


def _check_ids(file: str, vocab: dict[str, Any], added: dict[str, int]) -> None:
    """Ids from 0 on, each of one token."""
    holders: dict[int, str] = {}
    for token, number in (vocab | added).items():
        if isinstance(number, bool) or not isinstance(number, int) or number < 0:
            raise StartError(f"{file}: {token!r} has the id {number!r}, which is no whole number")
        other = holders.setdefault(number, token)
        if other != token:
            raise StartError(f"{file}: {other!r} and {token!r} are both token {number}; {_COPY}")
    end = max(max(vocab.values()), min(added.values(), default=0))
    gap = next((n for n in range(end) if n not in holders), None)
    if gap is not None:
        raise StartError(f"{file} is cut short: no token has the id {gap}; {_COPY}")


def _added_file(folder: Path) -> dict[str, int]:
    return read_json(folder, ADDED, LARGE_BYTES) if exists(folder, ADDED) else {}


def _decoder(config: dict[str, Any]) -> dict[str, int]:
    decoder = config.get("added_tokens_decoder") or {}
    try:
        return {token["content"]: int(number) for number, token in decoder.items()}
    except (ValueError, AttributeError):
        raise StartError(f"{CONFIG}: added_tokens_decoder is not a table of ids") from None


def _content(token: object) -> str | None:
    content = token.get("content") if isinstance(token, dict) else token
    return content if isinstance(content, str) else None
