"""How many tokens a step may have: halved when one ran out of memory, and given back little by little."""

from dataclasses import dataclass, replace

LEAST_TOKENS = 256
PATIENCE_STEPS = 500  # without running out of memory, before a little more is tried
GROWTH = 1.1


@dataclass(frozen=True, slots=True)
class Budget:
    full: int  # tokens; what the settings or the device say
    tokens: int  # now
    good_steps: int = 0  # since it last changed

    @classmethod
    def of(cls, tokens: int) -> "Budget":
        return cls(tokens, tokens)

    def after_success(self) -> "Budget":
        if self.tokens == self.full:
            return self
        if self.good_steps + 1 < PATIENCE_STEPS:
            return replace(self, good_steps=self.good_steps + 1)
        return replace(self, tokens=min(self.full, int(self.tokens * GROWTH)), good_steps=0)

    def after_out_of_memory(self, step_tokens: int) -> "Budget":
        """Half of the step that did not fit; never more than before."""
        halved = max(min(self.full, LEAST_TOKENS), step_tokens // 2)
        return replace(self, tokens=min(self.tokens, halved), good_steps=0)
