"""Losses: Bradley-Terry on answer pairs, and two helpers that are thrown away after training."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional
from transformers import Qwen2Tokenizer

from training.drawing import centre_of, radius_of
from training.scenes import COLOURS, POSITIONS, SHAPES, Scene

IGNORED = -100
# Embeddings are long; without a gain the first guesses would be far too sure.
WORD_GAIN = 0.3
# What the probe tells of a cell: colour or none, shape or none, quarter, middle of a thing or not.
PROBE_SIZES = (len(COLOURS) + 1, len(SHAPES) + 1, len(POSITIONS), 2)


def word_tokens(tokenizer: Qwen2Tokenizer) -> list[torch.Tensor]:
    """Find, for every colour and shape, the single tokens that spell it: "red", " red", "Red"."""
    tokens = []
    for name in (*COLOURS, *SHAPES):
        spelled = [tokenizer.encode(text) for text in (name, f" {name}", name.capitalize())]
        tokens.append(torch.tensor([ids[0] for ids in spelled if len(ids) == 1]))
    return tokens


class Probe(nn.Module):
    """Reads colour, shape and quarter straight off the vision features.

    Without this the tower gets its only signal through three text layers and a scalar, and
    does not start to learn in the time a demo may take. Colours and shapes are read off with
    the embeddings of their own words, so that a word and what it looks like point the same way
    and the text layers need not first discover which picture feature each word means.
    """

    def __init__(self, width: int, tokenizer: Qwen2Tokenizer) -> None:
        super().__init__()
        self.words = word_tokens(tokenizer)
        self.nothing = nn.Parameter(torch.zeros(2, width))
        self.place = nn.Linear(width, len(POSITIONS) + 2)

    def loss(
        self, features: torch.Tensor, labels: torch.Tensor, embeddings: torch.Tensor
    ) -> torch.Tensor:
        """Compare features [pictures, cells, width] with labels [pictures, cells, 4]."""
        words = torch.stack([embeddings[ids].mean(0) for ids in self.words])  # [11, width]
        colours, shapes = words.split((len(COLOURS), len(SHAPES)))
        looks = torch.cat([self.nothing[:1], colours, self.nothing[1:], shapes])
        read = torch.cat([WORD_GAIN * features @ looks.T, self.place(features)], dim=-1)
        guesses = read.flatten(0, 1).split(PROBE_SIZES, dim=-1)
        truths = labels.flatten(0, 1).unbind(-1)
        parts = [
            functional.cross_entropy(guess, truth, ignore_index=IGNORED)
            for guess, truth in zip(guesses, truths, strict=True)
        ]
        return torch.stack(parts).sum()


def cell_labels(scene: Scene, size: tuple[int, int], down: int, across: int) -> list[list[int]]:
    """Label each of down x across cells of a canvas: colour, shape, quarter, middle or not."""
    height, width = size[1] / down, size[0] / across
    labels = [[0, 0, IGNORED, 0] for _ in range(down * across)]
    for thing in scene.things:
        centre, radius = centre_of(thing, size), radius_of(thing, size)
        home = int(centre[1] / height) * across + int(centre[0] / width)
        colour, shape = 1 + COLOURS.index(thing.colour), 1 + SHAPES.index(thing.shape)
        for cell in range(down * across):
            x, y = (cell % across + 0.5) * width, (cell // across + 0.5) * height
            inside = (x - centre[0]) ** 2 + (y - centre[1]) ** 2 < (0.8 * radius) ** 2
            # The middle's own cell is labelled even where a small thing misses the cell's centre.
            if cell == home or (inside and not labels[cell][3]):
                labels[cell] = [colour, shape, POSITIONS.index(thing.position), int(cell == home)]
    return labels


def pair_loss(rewards: torch.Tensor, better: torch.Tensor, worse: torch.Tensor) -> torch.Tensor:
    """Bradley-Terry: minus the log-probability that the right answer wins, plus a light tether."""
    gap = rewards[better] - rewards[worse]
    # The tether keeps rewards near zero; Bradley-Terry alone says nothing about their level.
    return functional.softplus(-gap).mean() + 0.001 * rewards.square().mean()
