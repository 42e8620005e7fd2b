"""Shapes of the released Qwen2(.5)-VL models, and of small ones that have every part of them."""

from typing import Any

# tiny is for tests; 50m keeps the 7B's share of vision work, for benchmarks on a CPU.
_TEXT = {
    # hidden, layers, heads, kv heads, inner, vocabulary
    "tiny": (64, 2, 4, 2, 128, 1024),
    "50m": (640, 10, 10, 2, 1792, 1024),
    "3b": (2048, 36, 16, 2, 11008, 151936),
    "7b": (3584, 28, 28, 4, 18944, 152064),
    "32b": (5120, 64, 40, 8, 27648, 152064),
}
_VISION = {
    # depth, hidden, heads, inner, window in pixels, layers that see the whole picture
    "tiny": (3, 64, 4, 96, 56, [1]),
    "50m": (4, 256, 4, 688, 112, [3]),
}
_VISION_FULL = (32, 1280, 16, 3420, 112, [7, 15, 23, 31])
PRESETS = tuple(_TEXT)


def make_config(
    preset: str, model_type: str, dtype: str, tokenizer_config: dict[str, Any]
) -> dict[str, Any]:
    """A flat config as on the hub; control-token ids are those of the tokenizer that goes with it."""
    hidden, layers, heads, kv_heads, inner, vocabulary = _TEXT[preset]
    ids = ("image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id")
    section = _mrope_section(hidden // heads)
    return {
        "model_type": model_type,
        "architectures": ["Qwen2_5_VLForConditionalGeneration"],
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "intermediate_size": inner,
        "vocab_size": max(vocabulary, _vocabulary(tokenizer_config)),
        "max_position_embeddings": 128_000,
        "rms_norm_eps": 1e-6,
        "rope_theta": 1_000_000.0,
        "rope_scaling": {"type": "mrope", "mrope_section": section},
        "tie_word_embeddings": False,
        "bos_token_id": None,
        "eos_token_id": None,
        "torch_dtype": dtype,
        "vision_config": _vision(preset, model_type, hidden),
    } | {key: tokenizer_config[key] for key in ids}


def _vocabulary(config: dict[str, Any]) -> int:
    return int(config.get("text_config", config)["vocab_size"])


def _mrope_section(head_dim: int) -> list[int]:
    """As the 7B splits its 64: a quarter for time, the rest for height and width."""
    half = head_dim // 2
    side = half * 3 // 8
    return [half - 2 * side, side, side]


def _vision(preset: str, model_type: str, hidden: int) -> dict[str, Any]:
    depth, width, heads, inner, window, whole = _VISION.get(preset, _VISION_FULL)
    common = {
        "depth": depth,
        "num_heads": heads,
        "patch_size": 14,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
        "in_channels": 3,
    }
    if model_type == "qwen2_vl":
        ratio = 2 if preset == "tiny" else 4
        return common | {"embed_dim": width, "hidden_size": hidden, "mlp_ratio": ratio}
    own = {"hidden_size": width, "intermediate_size": inner, "out_hidden_size": hidden}
    return common | own | {"window_size": window, "fullatt_block_indexes": whole}
