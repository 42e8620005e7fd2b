"""The policy: a picture and a question to an answer, word by word; 0.55M weights, and nothing of how they learn."""

from collections.abc import Sequence

import numpy as np
import torch
from PIL.Image import Image, Resampling
from torch import Tensor, nn
from torch.nn import functional

from examples.shapes_grpo.guide import LONGEST, Guide
from examples.shapes_grpo.words import END, PAD, START, WORDS

SIDE, TILE, TILES = 56, 28, 4
WIDTH, WORD_WIDTH, EDGES, PARTS = 128, 64, 24, 48
NEVER = -1e9


def pixels(pictures: Sequence[Image]) -> Tensor:  # [pictures, 3, SIDE, SIDE]
    """How far from white, 0 to 3: the light background is then next to nothing."""
    small = [np.asarray(p.resize((SIDE, SIDE), Resampling.BICUBIC)) for p in pictures]
    return 3 - torch.from_numpy(np.stack(small)).permute(0, 3, 1, 2).float() * (3 / 255)


class Eye(nn.Module):
    """A picture to one vector for each of its quarters."""

    def __init__(self) -> None:
        super().__init__()
        self.edges = nn.Conv2d(3, EDGES, 5, stride=2, padding=2)
        self.parts = nn.Conv2d(EDGES, PARTS, 3, stride=2, padding=1)
        self.form = nn.Linear(PARTS * (TILE // 4) ** 2, WIDTH)
        self.tint = nn.Linear(PARTS, WIDTH)
        self.norm = nn.LayerNorm(WIDTH)
        self.place = nn.Parameter(torch.randn(TILES, WIDTH) / 2)

    def forward(self, seen: Tensor) -> Tensor:  # [pictures, TILES, WIDTH]
        tiles = seen.view(-1, 3, 2, TILE, 2, TILE).permute(0, 2, 4, 1, 3, 5)
        parts = functional.relu(self.edges(tiles.flatten(0, 2)))
        parts = functional.relu(self.parts(parts)).flatten(2)  # [tiles, PARTS, cells]
        found = self.norm(self.form(parts.flatten(1)) + self.tint(parts.amax(2)))
        return torch.add(found.view(-1, TILES, WIDTH), self.place)


class Policy(nn.Module):
    """Looks once, then speaks: `look` makes a context, from which answers are drawn or judged."""

    def __init__(self) -> None:
        super().__init__()
        self.eye = Eye()
        self.embed = nn.Embedding(len(WORDS), WORD_WIDTH)
        self.read = nn.Linear(WORD_WIDTH, WIDTH)
        self.query, self.key = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)
        self.think = nn.Sequential(
            nn.Linear(2 * WIDTH + TILES, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH)
        )
        self.speak = nn.GRU(WORD_WIDTH + WIDTH, WIDTH, batch_first=True)
        self.choose = nn.Linear(2 * WIDTH, len(WORDS))

    def look(self, seen: Tensor, question: Tensor) -> Tensor:  # [tasks, WIDTH]
        """The question, as a bag of words, picks among the quarters."""
        asked = (question != PAD).float().unsqueeze(2)
        bag = (self.embed(question) * asked).sum(1) / asked.sum(1).sqrt()
        read = functional.relu(self.read(bag))
        found = self.eye(seen)
        match = (self.query(read).unsqueeze(1) * self.key(found)).sum(2) / WIDTH**0.5
        where = match.softmax(1)  # [tasks, TILES]
        what = (where.unsqueeze(2) * found).sum(1) + found.mean(1)
        return torch.as_tensor(self.think(torch.cat([what, where, read], 1)))

    def log_probs(self, context: Tensor, words: Tensor, allowed: Tensor) -> Tensor:
        """Of each word of given answers [answers, length], among the `allowed` [answers, length, words]."""
        first = torch.full_like(words[:, :1], START)
        logits, _ = self._next(context, torch.cat([first, words[:, :-1]], 1), context.unsqueeze(0))
        chances = logits.masked_fill(~allowed, NEVER).log_softmax(2)
        return chances.gather(2, words.unsqueeze(2)).squeeze(2)

    @torch.no_grad()
    def answer(
        self, context: Tensor, guide: Guide, kinds: list[str], *, greedy: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Answers [answers, length], sampled or the likeliest word by word, and what was allowed at each word."""
        state, node = context.unsqueeze(0), guide.start(kinds)
        word = torch.full((len(context),), START)
        words, allowed = list[Tensor](), list[Tensor]()
        while len(words) < LONGEST and not (words and bool(((word == END) | (word == PAD)).all())):
            logits, state = self._next(context, word.unsqueeze(1), state)
            may = guide.allowed(node)
            chances = logits.squeeze(1).masked_fill(~may, NEVER).softmax(1)
            word = chances.argmax(1) if greedy else torch.multinomial(chances, 1).squeeze(1)
            node = guide.after(node, word)
            words.append(word)
            allowed.append(may)
        return torch.stack(words, 1), torch.stack(allowed, 1)

    def _next(self, context: Tensor, words: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Logits [answers, length, words] of what follows each word, and the state after the last."""
        steady = context.unsqueeze(1).expand(-1, words.shape[1], -1)
        spoken, state = self.speak(torch.cat([self.embed(words), steady], 2), state.contiguous())
        return self.choose(torch.cat([spoken, steady], 2)), state
