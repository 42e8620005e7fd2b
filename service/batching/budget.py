"""How many tokens a step may have: halved when one ran out of memory, and given back little by little."""

import math
from dataclasses import dataclass, replace

LEAST_TOKENS = 256
PATIENCE_STEPS = 500  # without running out of memory, before a little more is tried
GROWTH = 1.1
FORGOTTEN = 4  # full budgets: what ran out of memory beyond that is tried again
SHRINK = 0.9  # of a step that did not fit


@dataclass(frozen=True, slots=True)
class Budget:
    full: int  # tokens; what the settings or the device say
    tokens: int  # now
    most: float = math.inf  # of a step whose context leaves too little of them for its responses
    good_steps: int = 0  # since it last changed

    @classmethod
    def of(cls, tokens: int) -> "Budget":
        return cls(tokens, tokens)

    def after_success(self) -> "Budget":
        if self.tokens == self.full and self.most == math.inf:
            return self
        if self.good_steps + 1 < PATIENCE_STEPS:
            return replace(self, good_steps=self.good_steps + 1)
        tokens, most = min(self.full, int(self.tokens * GROWTH)), self.most * GROWTH
        return Budget(self.full, tokens, most if most < FORGOTTEN * self.full else math.inf)

    def after_out_of_memory(self, step_tokens: int) -> "Budget":
        """Half of the step that did not fit; never more than before."""
        halved = max(min(self.full, LEAST_TOKENS), step_tokens // 2)
        return Budget(self.full, min(self.tokens, halved), min(self.most, SHRINK * step_tokens))
