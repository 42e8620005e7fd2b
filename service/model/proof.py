"""What a loaded model has to show before it may serve, with golden scores or without: that it tells inputs apart, and
that our pass gives what stock transformers gives.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch

from service.core import Example, Item, Patches, Picture, Raster, RewardModel, Slice, Turn
from service.errors import NotProven
from service.inputs.conversation import user_turn
from service.model.encoding import Encoded
from service.model.head import RewardHead
from service.model.manifest import ScoreRules
from service.model.pixels import PixelShape, normalise

TEXTS = (
    ("What is two and two?", "Four."),
    ("What is two and two?", "Five, if one asks a poet."),
    ("Name a colour of the sky.", "Blue, and at dusk a kind of red."),
    ("Write a line about rivers.", "They flow to the sea; nobody has seen one come back."),
)
PICTURED = "What does the picture show?"
# Width and height. The first two are alike but for their pixels, the last two ragged where they stand together.
SIZES = ((84, 56), (84, 56), (112, 140))
ALIKE = 1e-6  # of the rewards' size: less is no difference


class Encodes(Protocol):
    def __call__(
        self, items: Sequence[Item], pictures: dict[Picture, Patches]
    ) -> list[Example | Exception]: ...


@dataclass(frozen=True, slots=True)
class Probes:
    """Examples that need no file: texts, one picture after another in the same words, and a group over two at once."""

    texts: tuple[Example, ...]
    pictures: tuple[Example, ...]  # empty where the template shows none
    group: tuple[Example, ...]  # of one, of two responses

    @property
    def compared(self) -> tuple[Example, ...]:
        """What stock transformers is asked for, too: a single, a picture, a group over ragged ones."""
        return (self.texts[0], *self.pictures[:1], *self.group)


def make_probes(model: RewardModel, encode: Encodes, *, shows_pictures: bool) -> Probes:
    patches = {
        Picture(f"probe {i}", "probe"): model.patchify(_noise(*size, seed=i))
        for i, size in enumerate(SIZES)
    }
    shown = list(patches) if shows_pictures else []

    def item(prompt: str, responses: tuple[str, ...], pictures: Sequence[Picture]) -> Item:
        turn: Turn = user_turn(prompt, pictures, model.info.image_position)
        return Item((turn,), responses)

    items = [item(prompt, (response,), ()) for prompt, response in TEXTS]
    items += [item(PICTURED, ("A pattern.",), [picture]) for picture in shown[:2]]
    items += [item(PICTURED, ("A pattern.", "Nothing at all."), shown[1:])]
    examples = []
    for found in encode(items, patches):
        if not isinstance(found, Example):
            raise NotProven(f"a short conversation cannot be encoded: {found}")
        examples.append(found)
    texts, pictures = examples[: len(TEXTS)], examples[len(TEXTS) : -1]
    return Probes(tuple(texts), tuple(pictures), (examples[-1],))


@torch.inference_mode()
def stock_rewards(
    backbone: Any, head: RewardHead, shape: PixelShape, rules: ScoreRules, probes: Probes
) -> list[list[float]]:
    """The rewards of `probes.compared` by the stock modules, one response at a time.

    To be called before the modules are replaced by faster ones.
    """
    return [
        [
            rules.reward(_stock_score(backbone, head, shape, example.data, r))
            for r in range(len(example.lengths))
        ]
        for example in probes.compared
    ]


def _stock_score(
    backbone: Any, head: RewardHead, shape: PixelShape, data: object, response: int
) -> float:
    assert isinstance(data, Encoded)
    device = next(head.parameters()).device
    ids = torch.from_numpy(data.sequences[response].ids.astype(np.int64))[None].to(device)
    inputs: dict[str, Any] = {
        "input_ids": ids,
        "mm_token_type_ids": (ids == data.image_pad_id).int(),
    }
    if data.pictures:
        pixels = np.concatenate([np.asarray(p.data) for p in data.pictures])
        values = normalise(torch.from_numpy(pixels).to(device), shape, backbone.dtype)
        frames = values.view(len(values), 3, 1, -1).expand(-1, -1, shape.temporal, -1)
        inputs["pixel_values"] = frames.reshape(len(values), -1)  # [patches, 3 * frames * patch²]
        grids = [[1, p.grid_h, p.grid_w] for p in data.pictures]
        inputs["image_grid_thw"] = torch.tensor(grids, device=device)
    backbone.rope_deltas = None  # of an earlier call
    hidden = backbone(**inputs).last_hidden_state  # [1, tokens, hidden]
    backbone.rope_deltas = None
    return float(head(hidden[0, -1:])[0])


def prove(
    model: RewardModel, probes: Probes, stock: Sequence[Sequence[float]], *, constant_ok: bool
) -> None:
    """
    Raises:
        NotProven: in words, what the model does not do.
    """
    compared = [_scored(model, example) for example in probes.compared]
    pairs = [
        (own, other)
        for ours, theirs in zip(compared, stock, strict=True)
        for own, other in zip(ours, theirs, strict=True)
    ]
    for own, other in pairs:
        bound = model.info.tolerance * max(1.0, abs(other))
        if not abs(own - other) <= bound:  # NaN is no reward
            raise NotProven(
                f"the same input gives {own:.6g}, and {other:.6g} by stock transformers "
                f"(tolerance {bound:g})"
            )
    if constant_ok:
        return
    for kind, examples in (("texts", probes.texts), ("pictures", probes.pictures)):
        rewards = [_scored(model, example)[0] for example in examples]
        if rewards and max(rewards) - min(rewards) <= ALIKE * max(1.0, *map(abs, rewards)):
            raise NotProven(
                f"{len(rewards)} {kind} that differ all give {rewards[0]:.6g}: the weights or the tokenizer are not "
                'those of a reward model; one that is meant so says "constant_ok": true in its manifest'
            )


def _scored(model: RewardModel, example: Example) -> list[float]:
    responses = tuple(range(len(example.lengths)))
    (rewards,) = model.score(model.stage((Slice(example, responses, "proof"),)))
    return rewards


def _noise(width: int, height: int, seed: int) -> Raster:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Raster(width, height, pixels.tobytes())
