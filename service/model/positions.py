"""Three-axis rotary positions in plain integer code; never `model.rope_deltas`, which remembers the last call."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def rope_positions(
    is_image: NDArray[np.bool_], grids: Sequence[tuple[int, int]]
) -> NDArray[np.int64]:
    """Positions (temporal, height, width) of one sequence: int64 [3, tokens].

    A text token advances all three by one. A picture of h x w merged tokens stands at the counter
    plus (0, row, column), and the counter then advances by max(h, w), not h * w.
    Source: Qwen2-VL, arXiv 2409.12191 §2.1 (M-RoPE).

    Args:
        is_image: which tokens are picture tokens, bool [tokens].
        grids: (h, w) of each picture after merging, in order.
    """
    out = np.empty((3, len(is_image)), dtype=np.int64)
    counter = start = 0
    starts = np.flatnonzero(is_image)
    consumed = 0
    for h, w in grids:
        first = int(starts[consumed])
        counter = _text(out, start, first, counter)
        span = slice(first, first + h * w)
        rows, columns = np.divmod(np.arange(h * w), w)
        out[0, span], out[1, span], out[2, span] = counter, counter + rows, counter + columns
        counter, start, consumed = counter + max(h, w), first + h * w, consumed + h * w
    _text(out, start, len(is_image), counter)
    return out


def _text(out: NDArray[np.int64], start: int, stop: int, counter: int) -> int:
    out[:, start:stop] = np.arange(counter, counter + stop - start)
    return counter + stop - start
