"""Trainer: the model under training and the three kinds of step it takes."""

from __future__ import annotations

import math
import random
from collections import defaultdict
from dataclasses import replace

import torch
from torch import nn
from torch.nn import functional
from transformers import Qwen2Tokenizer

from training.drawing import draw_scene
from training.losses import WORD_GAIN, Probe, cell_labels, pair_loss
from training.model import RewardModel, tiny_config
from training.packing import Batch, Packer
from training.pictures import MERGE, grid_of, patches
from training.questions import Mix, Question, random_questions
from training.scenes import Scene, random_canvas
from training.splits import Split
from training.vision import encode

# Pictures a step while looking and speaking, and while comparing; small steps learn sooner.
FEW, MANY, QUESTIONS = 6, 6, 4
SPOKEN = 4
SPEAKING, COMPARING = Mix(plain=0.7, captions=2), Mix(junk=0.08)
CAPTION_WEIGHT, PROBE_WEIGHT = 0.5, 0.3

Pictures = tuple[list[Scene], torch.Tensor, torch.Tensor, tuple[int, int]]


class Trainer:
    """Holds what a training run changes: the model, the helper losses, the optimiser."""

    def __init__(self, seed: int, tokenizer: Qwen2Tokenizer) -> None:
        torch.manual_seed(seed)
        self.rng = random.Random(f"train-{seed}")
        self.split = Split("train")
        self.parts: dict[str, float] = {}
        self.packer = Packer(tokenizer)
        self.model = RewardModel(tiny_config(tokenizer))
        self.model.prepare()
        self.embeddings = self.model.model.language_model.embed_tokens.weight
        width = self.embeddings.shape[1]
        self.probe = Probe(width, tokenizer)
        self.weights = [*self.model.parameters(), *self.probe.parameters()]
        self.optimiser = torch.optim.AdamW(self.weights, betas=(0.9, 0.98), weight_decay=0.05)

    def pictures(self, count: int) -> Pictures:
        """Draw one step's pictures, all on one canvas size: scenes, patches, labels, grid."""
        size = random_canvas(self.rng)
        rows, columns = grid_of(size)
        scenes = [self.split.scene(self.rng) for _ in range(count)]
        cut = patches([draw_scene(self.rng, scene, size) for scene in scenes])
        labels = [cell_labels(scene, size, rows // MERGE, columns // MERGE) for scene in scenes]
        return scenes, cut, torch.tensor(labels), (rows, columns)

    def look(self) -> torch.Tensor:
        """One step's loss of the vision tower alone."""
        _, cut, labels, grid = self.pictures(2 * FEW)
        features = encode(self.model.model.visual, cut, *grid)
        return self.probe.loss(features, labels, self.embeddings)

    def read(self, batch: Batch, features: torch.Tensor) -> torch.Tensor:
        """Run the text layers over a packed batch: hidden states [rows * length, width]."""
        text = self.model.model.language_model
        embedded = text.embed_tokens(batch.ids)
        first, last = batch.image_at.start, batch.image_at.stop
        embedded = torch.cat([embedded[:, :first], features, embedded[:, last:]], dim=1)
        output = text(
            inputs_embeds=embedded,
            position_ids=batch.positions,
            attention_mask={"full_attention": batch.mask},
            use_cache=False,
        )
        return output.last_hidden_state.flatten(0, 1)

    def caption_loss(self, batch: Batch, hidden: torch.Tensor) -> torch.Tensor:
        """How surprising the right answers are, read off with the token embeddings.

        An answer weighs as the square root of its length, or descriptions would drown the rest.
        """
        guesses = WORD_GAIN * functional.linear(hidden[batch.before], self.embeddings)
        surprise = functional.cross_entropy(guesses, batch.target, reduction="none")
        return (surprise * batch.weight).sum() / batch.weight.sum()

    def speak(self) -> torch.Tensor:
        """One step's captioning loss, on right answers alone."""
        scenes, cut, labels, grid = self.pictures(FEW)
        asked = [self.questions(scene, SPOKEN, SPEAKING) for scene in scenes]
        right = [[replace(question, wrongs=()) for question in about] for about in asked]
        batch = self.packer.pack(right, *grid)
        features = encode(self.model.model.visual, cut, *grid)
        caption = self.caption_loss(batch, self.read(batch, features))
        probe = self.probe.loss(features, labels, self.embeddings)
        self.parts = {"caption": caption.item(), "probe": probe.item()}
        return caption + PROBE_WEIGHT * probe

    def questions(self, scene: Scene, count: int, mix: Mix) -> list[Question]:
        """Ask `count` training questions about a scene."""
        return random_questions(self.rng, self.split, scene, count, mix)

    def compare(self) -> tuple[torch.Tensor, dict[str, list[bool]]]:
        """One step's whole loss, and which pairs came out right, by kind."""
        scenes, cut, labels, grid = self.pictures(MANY)
        asked = [self.questions(scene, QUESTIONS, COMPARING) for scene in scenes]
        batch = self.packer.pack(asked, *grid)
        features = encode(self.model.model.visual, cut, *grid)
        hidden = self.read(batch, features)
        rewards = self.model.score(hidden[batch.ends]).squeeze(-1)
        caption = self.caption_loss(batch, hidden)
        pairs = pair_loss(rewards, batch.better, batch.worse)
        probe = self.probe.loss(features, labels, self.embeddings)
        self.parts = {"pairs": pairs.item(), "caption": caption.item(), "probe": probe.item()}
        loss = pairs + CAPTION_WEIGHT * caption + PROBE_WEIGHT * probe
        won = defaultdict(list)
        for kind, right in zip(
            batch.kinds, (rewards[batch.better] > rewards[batch.worse]).tolist(), strict=True
        ):
            won[kind].append(right)
        return loss, won

    def step(self, loss: torch.Tensor, peak: float, done: float) -> None:
        """Update the weights; `done` is the share of the budget that is spent."""
        rate = peak * min(1.0, done / 0.01 + 0.02) * (0.5 + 0.5 * math.cos(math.pi * done))
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.weights, 1.0)
        self.optimiser.step()
