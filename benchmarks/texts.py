"""Random texts of exactly so many tokens of a checkpoint's own tokenizer; no traffic is shaped here."""

import random
from pathlib import Path

from tokenizers import Tokenizer

_SYLLABLES = [a + b for a in "bcdfghjklmnprstvwx" for b in "aeiou"]
_WORDS = 600


class Texts:
    """Words are tokenised one by one (the pre-tokenizer splits at spaces), so their counts add up."""

    def __init__(self, folder: Path, seed: int) -> None:
        self._random = random.Random(seed)
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        words = sorted(_words())
        counts = [len(e.ids) for e in tokenizer.encode_batch([" " + word for word in words])]
        self._counted = list(zip(words, counts, strict=True))
        self._single = [word for word, count in self._counted if count == 1]
        self._starts = [w for w in self._single if len(tokenizer.encode(w).ids) == 1]

    def text(self, tokens: int) -> str:
        """Space-separated words, `tokens` tokens together; the first is one of few, the others any."""
        words, left = [self._random.choice(self._starts)], tokens - 1
        while left > 0:
            word, count = self._random.choice(self._counted)
            if count > left:
                word, count = self._random.choice(self._single), 1
            words.append(word)
            left -= count
        return " ".join(words)


def _words() -> set[str]:
    """Made-up words, and letters and common words that most tokenizers know as one token."""
    source = random.Random(0)
    made = {"".join(source.choices(_SYLLABLES, k=source.randint(1, 3))) for _ in range(_WORDS)}
    return made | {"the", "a", "of", "is", "in", "red", "blue", "circle", "square", "left", "top"}
