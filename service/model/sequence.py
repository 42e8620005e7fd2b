"""A response's token ids as two arrays, of which siblings share the first; numpy only."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int32]


@dataclass(frozen=True, slots=True, eq=False)
class TokenSequence:
    """One response's whole sequence, up to its pooled token.

    `head` is one object for all siblings with the same context, so that a group of N responses to a context
    of C tokens takes C + N tails of memory, not N times C.
    """

    head: Ids  # [context tokens]
    tail: Ids  # [own tokens]

    def __len__(self) -> int:
        return len(self.head) + len(self.tail)

    @property
    def ids(self) -> Ids:
        """All of it as one array, made anew: [tokens]."""
        return np.concatenate([self.head, self.tail])


def shared_head(sequences: Sequence[TokenSequence]) -> Ids:
    """The head that all of them have; none of it where they differ. Heads are compared by identity."""
    head = sequences[0].head
    same = all(sequence.head is head for sequence in sequences)
    return head if same else head[:0]
