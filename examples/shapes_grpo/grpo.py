"""GRPO (arXiv:2402.03300): advantages within a group, the clipped ratio and the divergence; no policy, no server."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Objective:
    """
    Args:
        clip: how far a word's probability may move, as a ratio, before its gradient ends.
        kl: weight of the divergence from the reference; in a run this short it keeps the policy exploring.
        floor: added to a group's standard deviation, so that groups of nearly equal rewards teach little.
    """

    clip: float = 0.2
    kl: float = 0.1
    floor: float = 0.05


def advantages(rewards: Tensor, floor: float) -> Tensor:
    """How much better than its siblings each answer is; rewards are [groups, siblings]."""
    centred = rewards - rewards.mean(1, keepdim=True)
    return centred / (rewards.std(1, keepdim=True) + floor)


def divergence(log_probs: Tensor, reference: Tensor) -> Tensor:
    """An estimate of KL(policy | reference) for each word: unbiased where the policy sampled it, never negative."""
    ratio = reference - log_probs
    return ratio.exp() - ratio - 1


def loss(log_probs: Tensor, old: Tensor, gain: Tensor, objective: Objective) -> Tensor:
    """The clipped surrogate of each word [answers, length]; `gain` [answers, 1] is its answer's advantage."""
    ratio = (log_probs - old).exp()
    near = ratio.clamp(1 - objective.clip, 1 + objective.clip)
    return -torch.minimum(ratio * gain, near * gain)


def mean_over_words(values: Tensor, spoken: Tensor) -> Tensor:
    """Every word that was said counts the same, whichever answer it stands in."""
    return (values * spoken).sum() / spoken.sum()
