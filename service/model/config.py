"""`config.json`, judged before anything is built from it: a backbone we serve, float weights, no code of its own."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from service.errors import StartError
from service.model.folder import CONFIG_BYTES, LARGE_BYTES, exists, read_json
from service.model.location import no_config
from service.model.tensors import TensorMap

FILE = "config.json"
BACKBONES = ("qwen2_5_vl", "qwen2_vl")
_WITH_CODE = (
    FILE, "tokenizer_config.json", "preprocessor_config.json", "processor_config.json",
    "video_preprocessor_config.json", "generation_config.json",
)  # fmt: skip
_LARGEST = 2**31  # of any size
# Frequencies that depend on a row's longest sequence, as dynamic and longrope do, make a reward depend on its company.
_ROPES = ("default", "mrope", "linear", "yarn", "llama3")
_QUANTISED = ("quantization_config", "compression_config")


def read_config(folder: Path) -> dict[str, Any]:
    """
    Raises:
        StartError: missing, of another backbone, quantised, or it asks for something we do not serve.
    """
    if not exists(folder, FILE):
        raise StartError(no_config(folder))
    config = read_json(folder, FILE)
    for name in _WITH_CODE:
        if exists(folder, name) and _asks_for_code(folder, name):
            raise StartError(f"{name} asks for remote code (auto_map); it is never run")
    if config.get("model_type") not in BACKBONES:
        raise StartError(
            f"model_type {config.get('model_type')!r} is not served; known: {', '.join(BACKBONES)}"
        )
    for name in ("text_config", "vision_config"):
        if not isinstance(config.get(name, {}), dict):
            raise StartError(f"{FILE}: {name} is not an object")
    _check_values(config)
    return config


def without_attention(config: Any) -> Any:
    """The config without its choice of an attention kernel: ours is used, and the named one may not be installed."""
    if not isinstance(config, dict):
        return config
    kept = {k: v for k, v in config.items() if "attn_implementation" not in k}
    return {key: without_attention(value) for key, value in kept.items()}


def check_sizes(config: dict[str, Any], tensors: TensorMap) -> None:
    """Hold config.json's numbers of layers and rows against the weights, before anything is built.

    Raises:
        StartError: it asks for more than there is; names the key.
    """
    text = config.get("text_config", config)
    for part, key, prefix in (
        (text, "num_hidden_layers", "language_model.layers."),
        (config.get("vision_config", {}), "depth", "visual.blocks."),
    ):
        found = {n[len(prefix) :].split(".")[0] for n in tensors.backbone if n.startswith(prefix)}
        stated = part.get(key)
        if isinstance(stated, int) and stated > len(tensors.backbone):
            raise StartError(f"{FILE}: {key} is {stated}; the weights hold {len(found)} layers")
    _check_heads(text, config.get("vision_config", {}))
    padding, rows = text.get("pad_token_id", config.get("pad_token_id")), embedding_rows(tensors)
    if rows is not None and isinstance(padding, int) and not 0 <= padding < rows:
        raise StartError(f"{FILE}: pad_token_id is {padding}; the embedding has {rows} rows")


def _check_heads(text: dict[str, Any], vision: dict[str, Any]) -> None:
    """What torch would complain of in the first pass only."""
    side = "embed_dim" if "embed_dim" in vision else "hidden_size"
    pairs = (
        (text, "hidden_size", "num_attention_heads"),
        (text, "num_attention_heads", "num_key_value_heads"),
        (vision, side, "num_heads"),
    )
    for part, whole, parts in pairs:
        a, b = part.get(whole), part.get(parts)
        if isinstance(a, int) and isinstance(b, int) and (b < 1 or a % b):
            raise StartError(f"{FILE}: {whole} {a} is not divisible by {parts} {b}")
    hidden, heads = text.get("hidden_size"), text.get("num_attention_heads")
    if not isinstance(hidden, int) or not isinstance(heads, int):
        return
    width = hidden // heads
    if text.get("head_dim") not in (None, width):
        raise StartError(
            f"{FILE}: head_dim {text['head_dim']} is not served; heads are {width} wide"
        )
    for name in ("rope_scaling", "rope_parameters"):
        rope = text.get(name) or {}
        if not isinstance(rope, dict):
            raise StartError(f"{FILE}: {name} is not an object")
        section = rope.get("mrope_section")
        if section is not None and (not isinstance(section, list) or sum(section) * 2 != width):
            raise StartError(
                f"{FILE}: {name}.mrope_section = {section!r} does not add up to half a head's width, {width // 2}"
            )


def embedding_rows(tensors: TensorMap) -> int | None:
    stored = tensors.backbone.get("language_model.embed_tokens.weight")
    return stored.shape[0] if stored is not None and stored.shape else None


def _asks_for_code(folder: Path, name: str) -> bool:
    limit = (
        LARGE_BYTES if name.startswith("tokenizer") else CONFIG_BYTES
    )  # thousands of added tokens
    return any(key == "auto_map" for key, _ in _all(read_json(folder, name, limit)))


def _check_values(config: dict[str, Any]) -> None:
    for key, value in _all(config):
        number = isinstance(value, int | float)
        if number and (not abs(value) < _LARGEST or (key == "rope_theta" and value <= 0)):
            raise StartError(f"{FILE}: {key} = {value} is out of range")
        if key in _QUANTISED and value is not None:
            method = value.get("quant_method") if isinstance(value, dict) else value
            raise StartError(
                f"{FILE}: {key} says {str(method)[:40]!r}: quantised weights are not served; "
                "take the checkpoint before it was quantised, or dequantise it and drop the key"
            )
        if key in ("rope_scaling", "rope_parameters") and isinstance(value, dict):
            for name in ("rope_type", "type"):
                kind = value.get(name, "default")
                if kind not in _ROPES and kind != "axial":
                    raise StartError(
                        f"{FILE}: {key}.{name} {kind!r} is not served; known: {', '.join(_ROPES)}"
                    )


def _all(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Every key with its value, however deep."""
    yield key, value
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _all(inner, name)
    elif isinstance(value, list):
        for inner in value:
            yield from _all(inner, key)
