"""The learner: a policy, how it began, and its optimiser; it answers tasks and learns from numbers alone."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from examples.shapes_grpo import grpo
from examples.shapes_grpo.guide import Guide
from examples.shapes_grpo.policy import Policy, pixels
from examples.shapes_grpo.words import PAD, decode, encode, padded
from examples.shapes_grpo.world import Task

RISE = 10  # steps until the full learning rate
LOWEST = 0.1  # of the learning rate, at the end
LARGEST_GRADIENT = 1.0
AT_ONCE = 250  # pictures of an exam


@dataclass(frozen=True)
class Rollout:
    """What was asked and said in one step; answers of one task follow one another."""

    seen: Tensor
    questions: Tensor
    words: Tensor
    allowed: Tensor
    texts: list[list[str]]


class Learner:
    def __init__(self, guide: Guide, rate: float, steps: int, objective: grpo.Objective) -> None:
        self.policy, self._guide, self._objective = Policy(), guide, objective
        self._start = copy.deepcopy(self.policy).requires_grad_(False)
        self._optimiser = torch.optim.AdamW(self.policy.parameters(), lr=rate)
        self._rate = torch.optim.lr_scheduler.LambdaLR(
            self._optimiser,
            lambda step: min(1, (step + 1) / RISE) * max(LOWEST, 1 - (1 - LOWEST) * step / steps),
        )

    def answer(self, tasks: Sequence[Task], siblings: int) -> Rollout:
        """Sample a group of answers to each task."""
        seen, questions = _asked(tasks)
        kinds = [task.kind for task in tasks for _ in range(siblings)]
        with torch.no_grad():
            context = self.policy.look(seen, questions).repeat_interleave(siblings, 0)
        words, allowed = self.policy.answer(context, self._guide, kinds)
        texts = [decode(row) for row in words.tolist()]
        groups = [texts[i : i + siblings] for i in range(0, len(texts), siblings)]
        return Rollout(seen, questions, words, allowed, groups)

    def say(self, tasks: Sequence[Task], *, greedy: bool) -> list[str]:
        """One answer to each task; nothing is learnt."""
        texts: list[str] = []
        for first in range(0, len(tasks), AT_ONCE):
            few = tasks[first : first + AT_ONCE]
            with torch.no_grad():
                context = self.policy.look(*_asked(few))
            kinds = [task.kind for task in few]
            words, _ = self.policy.answer(context, self._guide, kinds, greedy=greedy)
            texts += [decode(row) for row in words.tolist()]
        return texts

    def learn(self, rollout: Rollout, rewards: Tensor, passes: int) -> float:
        """Take a few passes over one rollout, whose rewards are [groups, siblings]; the last divergence."""
        gain = grpo.advantages(rewards, self._objective.floor).view(-1, 1)
        with torch.no_grad():
            old = self._log_probs(self.policy, rollout)
            reference = self._log_probs(self._start, rollout)
        spoken = (rollout.words != PAD).float()
        for _ in range(passes):
            new = self._log_probs(self.policy, rollout)
            apart = grpo.divergence(new, reference)
            words = grpo.loss(new, old, gain, self._objective) + self._objective.kl * apart
            self._descend(grpo.mean_over_words(words, spoken))
        self._rate.step()
        return float(grpo.mean_over_words(apart.detach(), spoken))

    def _descend(self, loss: Tensor) -> None:
        self._optimiser.zero_grad()
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(self.policy.parameters(), LARGEST_GRADIENT)
        self._optimiser.step()

    @staticmethod
    def _log_probs(policy: Policy, rollout: Rollout) -> Tensor:
        siblings = len(rollout.words) // len(rollout.seen)
        context = policy.look(rollout.seen, rollout.questions).repeat_interleave(siblings, 0)
        return policy.log_probs(context, rollout.words, rollout.allowed)


def _asked(tasks: Sequence[Task]) -> tuple[Tensor, Tensor]:
    questions = padded(encode(task.question) for task in tasks)
    return pixels([task.picture for task in tasks]), questions
