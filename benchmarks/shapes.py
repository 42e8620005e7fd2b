"""Calls to what they cost: token counts and common prefixes of their conversations; no model is run."""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

from benchmarks.flops import Group
from benchmarks.traffic import Call

_MERGE = 2  # patches a side of a visual token


class Shapes:
    """The checkpoint's tokenizer and chat template, as the stock baselines use them."""

    def __init__(self, folder: Path) -> None:
        self._tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)

    def groups(self, calls: Sequence[Call]) -> list[Group]:
        """Calls of equal prompt and picture are one group, however they are sent."""
        merged: dict[tuple[str, bytes | None], list[Call]] = {}
        for call in calls:
            merged.setdefault((call.prompt, call.image), []).append(call)
        return [self._group(siblings) for siblings in merged.values()]

    def _group(self, calls: list[Call]) -> Group:
        sequences = [self._ids(call.prompt, r, call) for call in calls for r in call.responses]
        extra = max(0, calls[0].image_tokens - 1)  # the pad stands for all tokens of the picture
        lengths = tuple(len(ids) + extra for ids in sequences)
        prefix = min(_common(sequences) + extra, min(lengths) - 1)
        side = math.isqrt(calls[0].image_tokens) * _MERGE
        return Group(prefix, lengths, side)

    def _ids(self, prompt: str, response: str, call: Call) -> list[int]:
        parts = [{"type": "image"}] if call.image is not None else []
        messages = [
            {"role": "user", "content": [*parts, {"type": "text", "text": prompt}]},
            {"role": "assistant", "content": response},
        ]
        text = self._tokenizer.apply_chat_template(messages, tokenize=False)
        ids: list[int] = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids


def _common(sequences: Iterable[Sequence[int]]) -> int:
    """Leading tokens that all have in common; a sequence alone shares all but its last."""
    first, *others = sequences
    shared = len(first)
    for other in others:
        pairs = zip(first[:shared], other, strict=False)
        shared = next((i for i, (a, b) in enumerate(pairs) if a != b), min(shared, len(other)))
    return shared
