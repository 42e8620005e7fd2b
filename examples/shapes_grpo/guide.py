"""Guided decoding: which word may follow, so that a policy can only say well-formed answers, right or wrong."""

import torch

from examples.shapes_grpo.words import END, PAD, START, WORDS, encode
from examples.shapes_grpo.world import KINDS, VALUES, sentences

LONGEST = 8  # words, with the end
_SAID = 0  # the node after the end: only padding follows


class Guide:
    """A tree of sentences, one root for each kind of question."""

    def __init__(self) -> None:
        self._next: list[dict[int, int]] = [{PAD: _SAID}]
        self._roots = {kind: self._add() for kind in KINDS}
        self._grow()
        nodes = len(self._next)
        self._allowed = torch.zeros(nodes, len(WORDS), dtype=torch.bool)  # [nodes, words]
        self._child = torch.zeros(nodes, len(WORDS), dtype=torch.long)  # [nodes, words]
        for node, following in enumerate(self._next):
            self._allowed[node, list(following)] = True
            self._child[node, list(following)] = torch.tensor(list(following.values()))

    def _grow(self) -> None:
        for kind in KINDS:
            for value in VALUES[kind]:
                for text in sentences(kind, value):
                    self._plant(self._roots[kind], encode(text))

    def _plant(self, node: int, words: list[int]) -> None:
        for word in words:
            node = self._next[node].get(word) or self._add(node, word)
        self._next[node][END] = _SAID

    def _add(self, parent: int | None = None, word: int = PAD) -> int:
        self._next.append({})
        if parent is not None:
            self._next[parent][word] = len(self._next) - 1
        return len(self._next) - 1

    def start(self, kinds: list[str]) -> torch.Tensor:  # [answers]
        """The node before the first word of an answer to a question of each kind."""
        return torch.tensor([self._roots[kind] for kind in kinds])

    def allowed(self, nodes: torch.Tensor) -> torch.Tensor:  # [answers, words]
        return self._allowed[nodes]

    def after(self, nodes: torch.Tensor, words: torch.Tensor) -> torch.Tensor:  # [answers]
        return self._child[nodes, words]


class Unguided(Guide):
    """Every word may follow every other: what happens without a guide."""

    def _grow(self) -> None:
        for root in self._roots.values():
            self._next[root] = dict.fromkeys(range(len(WORDS)), root) | {END: _SAID}
            del self._next[root][PAD], self._next[root][START]
