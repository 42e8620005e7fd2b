"""A tiny model and its stock judge in float64 throughout: what is left between them is order of summation."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from unittest import mock

import torch
from PIL import Image
from transformers.models.qwen2_5_vl import modeling_qwen2_5_vl
from transformers.models.qwen2_vl import modeling_qwen2_vl

from service.core import Example, Step
from service.model import backbone as backbones
from service.model.banks import Banks, make_banks
from service.model.encoding import Encoded
from service.model.kernels import speed_up
from service.model.memory import CacheSizes
from service.model.packed import PackedPass
from service.model.pixels import normalise
from service.model.steps import Steps
from tests.model.reference import StockModel
from tests.model.scoring import example, load

ROWS = 64  # a step of some length is in several parts
MODULES = (modeling_qwen2_vl, modeling_qwen2_5_vl)


def _norm(self, hidden_states):
    """The stock norm without its excursion to float32."""
    variance = hidden_states.pow(2).mean(-1, keepdim=True)
    return self.weight * hidden_states * torch.rsqrt(variance + self.variance_epsilon)


def _rope(q, k, cos, sin):
    """The stock rotation of the vision tower, likewise."""
    cos, sin = cos.unsqueeze(-2).double(), sin.unsqueeze(-2).double()
    rotate = modeling_qwen2_vl.rotate_half
    return q * cos + rotate(q) * sin, k * cos + rotate(k) * sin


@contextmanager
def without_float32() -> Iterator[None]:
    with (
        mock.patch.object(modeling_qwen2_vl.Qwen2VLRMSNorm, "forward", _norm),
        mock.patch.object(modeling_qwen2_5_vl.Qwen2_5_VLRMSNorm, "forward", _norm),
        mock.patch.object(modeling_qwen2_vl, "apply_rotary_pos_emb_vision", _rope),
        mock.patch.object(modeling_qwen2_5_vl, "apply_rotary_pos_emb_vision", _rope),
    ):
        yield


@dataclass
class DoublePair:
    """One checkpoint, ours and stock; `sizes` are ours to choose."""

    folder: object
    sizes: CacheSizes = field(default_factory=CacheSizes)
    by_rows: bool = False  # else the stock layers, as on a GPU

    def __post_init__(self) -> None:
        self.model = load(self.folder)
        checkpoint = self.model.checkpoint
        weights = backbones.load(checkpoint, torch.float32, torch.device("cpu"))
        self.backbone, self.head = weights.backbone.double(), weights.head.double()
        if self.by_rows:
            speed_up(self.backbone, torch.device("cpu"), ROWS)
        self.stock = StockModel(self.folder)
        self.stock.backbone.double()
        self.stock.head = {name: tensor.double() for name, tensor in self.stock.head.items()}
        self.reset(self.sizes)
        self._known: dict[tuple, float] = {}

    def reset(self, sizes: CacheSizes) -> None:
        """Forget everything; keep what `sizes` says from now on."""
        model = self.model
        self.banks: Banks = make_banks(sizes)
        packed = PackedPass(self.backbone, self.head, model._shape, self.banks, torch.device("cpu"))
        self.steps = Steps(packed, model.checkpoint.manifest.score, self.banks.rewards)
        self.tower = packed._tower

    def score(self, step: Step) -> list[list[float]]:
        with without_float32():
            return self.steps.score(self.steps.stage(step))

    def example(self, prompt: str, responses: list[str], images: list[Image.Image]) -> Example:
        return example(self.model, prompt, responses, images)

    def judge(self, one: Example, response: int) -> float:
        """Stock transformers over the whole sequence, alone."""
        data = one.data
        assert isinstance(data, Encoded)
        pictures = tuple(p.digest for p in data.pictures)
        key = (data.sequences[response].ids.tobytes(), pictures)
        if key not in self._known:
            self._known[key] = self._forward(data, response)
        return self._known[key]

    @torch.no_grad()
    def _forward(self, data: Encoded, response: int) -> float:
        backbone = self.stock.backbone
        ids = torch.from_numpy(data.sequences[response].ids).long()[None]
        kwargs = {}
        if data.pictures:
            frames = [
                normalise(torch.from_numpy(p.data), self.model._shape).view(-1, 3, 1, 196)
                for p in data.pictures
            ]
            pixels = torch.cat(frames).expand(-1, -1, 2, -1).flatten(1).double()
            grid = torch.tensor([[1, p.grid_h, p.grid_w] for p in data.pictures])
            kwargs = {"pixel_values": pixels, "image_grid_thw": grid}
        backbone.rope_deltas = None
        kinds = (ids == backbone.config.image_token_id).int()
        with without_float32():
            out = backbone(input_ids=ids, mm_token_type_ids=kinds, **kwargs)
        return float(self.stock.apply_head(out.last_hidden_state[0, -1]))
