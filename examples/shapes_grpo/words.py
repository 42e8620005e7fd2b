"""The policy's vocabulary: questions and answers to word numbers and back."""

import re
from collections.abc import Iterable

import torch

from examples.shapes_grpo.world import KINDS, QUESTIONS, VALUES, sentences

PAD, START, END = 0, 1, 2
_WORD = re.compile(r"\w+|[?.]")


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())


def _vocabulary() -> list[str]:
    slots = {"colour": "", "shape": "", "ref": ""}
    asked = [form.format(**slots) for forms in QUESTIONS.values() for form in forms]
    said = [text for kind in KINDS for value in VALUES[kind] for text in sentences(kind, value)]
    return sorted({word for text in (*asked, *said) for word in _words(text)})


WORDS = ("<pad>", "<start>", "<end>", *_vocabulary())
_NUMBER = {word: number for number, word in enumerate(WORDS)}


def encode(text: str) -> list[int]:
    return [_NUMBER[word] for word in _words(text)]


def padded(rows: Iterable[list[int]]) -> torch.Tensor:  # [rows, longest]
    tensors = [torch.tensor(row) for row in rows]
    return torch.nn.utils.rnn.pad_sequence(tensors, batch_first=True, padding_value=PAD)


def decode(numbers: Iterable[int]) -> str:
    """The text of an answer up to its end, written as people write."""
    words = []
    for number in numbers:
        if number in (PAD, END):
            break
        words.append(WORDS[number])
    text = re.sub(r" (?=[?.])", "", " ".join(words))
    return text[:1].upper() + text[1:]
