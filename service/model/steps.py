"""Between the engine's steps and the pass that computes them: remembered rewards, accounts, the score's scale."""

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from service.core import StagedStep, Step, Work
from service.model.banks import Bank, Key, UnkeptPromise
from service.model.manifest import ScoreRules
from service.model.member import Member
from service.model.packed import PackedPass, PackedStep


@dataclass(frozen=True, slots=True)
class Laid:
    """What is computed, and where each response's reward comes from; lists run over the step's responses."""

    step: Step
    packed: PackedStep | None  # None: every reward is remembered
    outputs: list[int]  # which output of the packed step
    remembered: list[float | None]
    keys: list[Key | None]  # under which to remember it
    counts: list[int]  # responses of each slice


class Steps:
    """Stages and scores steps with one pass; `remember` holds rewards of earlier ones, 0 entries by default."""

    def __init__(self, packed: PackedPass, rules: ScoreRules, remember: Bank[float]) -> None:
        self._pass = packed
        self._rules = rules
        self._remember = remember

    def stage(self, step: Step) -> StagedStep:
        members = [Member(s.tenant, s.example, r) for s in step for r in s.responses]
        counts = [len(part.responses) for part in step]
        keys = [self._key(member) for member in members]
        remembered = [None if key is None else self._remember.get(key) for key in keys]
        fresh = [i for i, reward in enumerate(remembered) if reward is None]
        outputs, computed = [-1] * len(members), [0] * len(members)
        if not fresh:
            laid = Laid(step, None, outputs, remembered, keys, counts)
            return StagedStep(Work(0, 0, 0), _shared(members, computed, counts), laid)
        packed, row = self._pass.stage([members[i] for i in fresh])
        for i, output, tokens in zip(fresh, row.answers, row.computed, strict=True):
            outputs[i], computed[i] = output, tokens
        work = Work(len(row.ids), row.segments.pairs(), packed.patches)
        laid = Laid(step, packed, outputs, remembered, keys, counts)
        return StagedStep(work, _shared(members, computed, counts), laid)

    def score(self, staged: StagedStep) -> list[list[float]]:
        laid = staged.data
        assert isinstance(laid, Laid)
        try:
            raw = self._pass.score(laid.packed) if laid.packed else []
        except UnkeptPromise:  # forgotten by now: laid out once more, the context is computed here
            return self.score(self.stage(laid.step))
        rewards = [
            self._rules.reward(raw[output]) if known is None else known
            for output, known in zip(laid.outputs, laid.remembered, strict=True)
        ]
        for key, reward in zip(laid.keys, rewards, strict=True):
            if key is not None and math.isfinite(reward):
                self._remember.put(key, reward, 1)
        each = iter(rewards)
        return [[next(each) for _ in range(count)] for count in laid.counts]

    def _key(self, member: Member) -> Key | None:
        """Tenant, and a digest of all that decides the reward; None where nothing is remembered."""
        if self._remember.max_bytes == 0:
            return None
        whole = hashlib.sha256(member.sequence.ids.tobytes())
        for picture in member.encoded.pictures:
            whole.update(picture.digest)
        return member.tenant, whole.digest()


def _shared(
    members: Sequence[Member], computed: Iterable[int], counts: Sequence[int]
) -> tuple[int, ...]:
    """Slice by slice, the tokens that did not have to be computed on its account."""
    saved = iter(len(m.sequence) - n for m, n in zip(members, computed, strict=True))
    return tuple(sum(next(saved) for _ in range(count)) for count in counts)
