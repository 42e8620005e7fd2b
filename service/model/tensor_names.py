"""Names of tensors as files store them: the wrappers of trainers taken off, and which part of the model each names."""

import re
from collections.abc import Iterable, Sequence

# Wrappers that trainers leave in names: FSDP, activation checkpointing, torch.compile and DeepSpeed anywhere,
# DDP, TRL's value-head model and PEFT in front.
_WITHIN = re.compile(
    r"(?:^|(?<=\.))(?:_fsdp_wrapped_module|_checkpoint_wrapped_module|_orig_mod|_forward_module|_fpw_module)\."
)
_IN_FRONT = re.compile(r"^(?:module\.|pretrained_model\.|base_model\.model\.)+")

# On disk: Qwen's release and most fine-tunes (visual.*, model.layers.*), newer savers
# (model.visual.*, model.language_model.*), and a bare base model (visual.*, language_model.*).
_BACKBONE = (
    (re.compile(r"^(?:model\.)*visual\.(?P<rest>.+)$"), "visual."),
    (re.compile(r"^(?:model\.)*language_model\.(?P<rest>.+)$"), "language_model."),
    (re.compile(r"^(?:model\.)+(?P<rest>(?:layers|embed_tokens|norm)\..+)$"), "language_model."),
)
# Not part of the function that scores: the language-model head, and buffers old savers wrote.
_IGNORED = re.compile(
    r"^(?:model\.|language_model\.)*lm_head\.|\.rotary_emb\.inv_freq$|\.rotary_pos_emb\.inv_freq$"
)
HEAD_PREFIXES = ("score", "rm_head", "reward_head", "v_head", "value_head", "head", "classifier")


def unwrapped(name: str) -> tuple[str, set[str]]:
    """A stored name without the wrappers of trainers, and the wrappers."""
    taken = set(_WITHIN.findall(name))
    name = _WITHIN.sub("", name)
    if match := _IN_FRONT.match(name):
        taken.add(match[0])
        name = name[match.end() :]
    return name, taken


def is_ignored(name: str) -> bool:
    """Not part of the function that scores."""
    return _IGNORED.search(unwrapped(name)[0]) is not None


def canonical_name(name: str) -> str | None:
    """The backbone module's own name for a stored tensor; None if it is not of the backbone."""
    if _IGNORED.search(name):
        return None
    for pattern, prefix in _BACKBONE:
        if match := pattern.match(name):
            return prefix + match["rest"]
    return None


def head_prefixes(names: Iterable[str]) -> list[str]:
    """Under which known prefixes tensors of a head stand."""
    plain = [_bare(unwrapped(name)[0]) for name in names]
    return [p for p in HEAD_PREFIXES if any(name.startswith(p + ".") for name in plain)]


def _bare(name: str) -> str:
    """A head's tensor without the model that it hangs on: vLLM's language_model.score is score."""
    return re.sub(r"^(?:model\.|language_model\.)+", "", name)


def head_part(name: str, prefix: str) -> tuple[str, str] | None:
    """("dense", "weight") for score.dense.weight; ("", "weight") for score.weight."""
    bare = next((n for n in (name, _bare(name)) if n.startswith(prefix + ".")), None)
    if bare is None:
        return None
    layer, _, kind = bare[len(prefix) + 1 :].rpartition(".")
    return (layer, kind) if kind in ("weight", "bias") else None


def unknown_front(stray: Sequence[str], prefix: str) -> str | None:
    """What stands before a known name in the first stray one: of a trainer's class that held the model."""
    parts = unwrapped(stray[0])[0].split(".") if stray else []
    for at in range(1, len(parts)):
        rest = ".".join(parts[at:])
        if canonical_name(rest) is not None or head_part(rest, prefix) is not None:
            return ".".join(parts[:at]) + "."
    return None
