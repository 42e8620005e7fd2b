"""BaseReward as the engine sees it: the `RewardModel` of core, made of the rest of this room."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.metadata import version
from typing import Any

import torch

from service.core import (
    DeviceMemory,
    Example,
    Item,
    ModelInfo,
    Patches,
    Picture,
    Raster,
    StagedStep,
    Step,
)
from service.errors import StartError
from service.model import backbone as backbones
from service.model import device as devices
from service.model.attention import check_attention
from service.model.backbone import Progress
from service.model.banks import make_banks
from service.model.checkpoint import Checkpoint
from service.model.config import embedding_rows
from service.model.encoding import Encoder
from service.model.golden import check_golden
from service.model.kernels import speed_up
from service.model.memory import MemoryPlan, largest_step
from service.model.packed import PackedPass, activation_bytes
from service.model.pixels import patchify, read_shape
from service.model.proof import Probes, make_probes, prove, stock_rewards
from service.model.steps import Steps
from service.model.template import ChatTemplate


class BaseRewardModel:
    """One checkpoint on one device."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        *,
        name: str = "basereward",
        device: str = "auto",
        dtype: str = "auto",
        memory: MemoryPlan | None = None,
        progress: Progress = lambda _: None,
    ) -> None:
        """
        Raises:
            StartError: the checkpoint, the device or its memory does not do; one line.
        """
        self.checkpoint = checkpoint
        manifest = checkpoint.manifest
        backbones.check_shapes(checkpoint)
        self._device = devices.pick_device(device)
        self._dtype = devices.pick_dtype(dtype, self._device)
        self._shape = read_shape(
            checkpoint.folder, manifest.pixels, checkpoint.config.get("vision_config", {})
        )
        self._template = ChatTemplate(checkpoint.folder, manifest.template, manifest.pool)
        _check_ids(self._template, checkpoint)
        self._encoder = Encoder(self._template, manifest.max_tokens)
        elements = sum(tensor.elements for tensor in checkpoint.tensors.served)
        plan = memory or MemoryPlan()
        devices.check_memory(elements * self._dtype.itemsize, self._device, plan.fraction)
        weights = backbones.load(checkpoint, self._dtype, self._device, progress)
        self._backbone, self._head = weights.backbone, weights.head
        self.info = self._describe(name, weights.tensor_digests)
        self._probes, self._unproven = self._probed()
        check_attention(weights.backbone.config.text_config, manifest.max_tokens)
        step_tokens = plan.step_tokens or devices.step_tokens(self._device)
        largest = largest_step(step_tokens, manifest.max_tokens)
        step_bytes = largest * activation_bytes(weights.backbone)
        room = devices.room_for_caches(plan.fraction, step_bytes, self._device)
        speed_up(weights.backbone, self._device)
        banks = make_banks(plan.caches.within(room))
        packed = PackedPass(weights.backbone, weights.head, self._shape, banks, self._device)
        self._steps = Steps(packed, manifest.score, banks.rewards)

    def _probed(self) -> tuple[Probes, list[list[float]] | None]:
        """What the model has to give before it may serve, by the stock modules; None once it has given it."""
        shows = self._template.shows_pictures
        probes = make_probes(self, self._encoder.encode, shows_pictures=shows)
        rules = self.checkpoint.manifest.score
        return probes, stock_rewards(self._backbone, self._head, self._shape, rules, probes)

    def patchify(self, raster: Raster) -> Patches:
        return patchify(raster, self._shape)

    def encode(
        self, items: Sequence[Item], pictures: Mapping[Picture, Patches]
    ) -> list[Example | Exception]:
        return self._encoder.encode(items, pictures)

    def stage(self, step: Step) -> StagedStep:
        return devices.guarded(partial(self._steps.stage, step), self._device)

    def score(self, staged: StagedStep) -> list[list[float]]:
        return devices.guarded(partial(self._steps.score, staged), self._device)

    def check(self, beat: Callable[[], None] = lambda: None) -> float:
        if self._unproven is not None:
            constant_ok = self.checkpoint.manifest.constant_ok
            prove(self, self._probes, self._unproven, constant_ok=constant_ok)
            self._unproven = None
            beat()
        return check_golden(self, self.checkpoint, beat)

    def memory(self) -> DeviceMemory | None:
        return devices.memory(self._device)

    def _describe(self, name: str, digests: Mapping[str, str]) -> ModelInfo:
        manifest = self.checkpoint.manifest
        shape = self._shape
        processor = [shape.patch, shape.merge, shape.temporal, shape.mean, shape.std]
        architecture = _architecture(self._backbone)
        return ModelInfo(
            name=name,
            fingerprint=backbones.fingerprint(
                digests, self._template.source, processor, manifest.function(), architecture
            ),
            numerics=devices.numerics(self._dtype, self._device),
            tolerance=manifest.tolerance(str(self._dtype).removeprefix("torch.")),
            scoring=manifest.scoring,
            max_tokens=manifest.max_tokens,
            step_tokens=devices.step_tokens(self._device),
            image_position=manifest.template.image_position,
            apply_exif=manifest.pixels.apply_exif,
            details=self._details(),
        )

    def _details(self) -> dict[str, object]:
        manifest, tensors = self.checkpoint.manifest, self.checkpoint.tensors
        return {
            "backbone": self.checkpoint.model_type,
            "head": {
                "tensors": [layer.weight.name for layer in tensors.head],
                "widths": tensors.head_widths,
                "activation": manifest.head.activation,
            },
            "manifest": manifest.model_dump(mode="json", exclude={"golden"}),
            "recipe": self.checkpoint.recipe,
            "golden": len(manifest.golden),
            "device": str(self._device),
            "dtype": str(self._dtype).removeprefix("torch."),
            "libraries": {"torch": torch.__version__, "transformers": version("transformers")},
        }


def _check_ids(template: ChatTemplate, checkpoint: Checkpoint) -> None:
    """
    Raises:
        StartError: the tokenizer can give an id that has no row: on a GPU one such text would end the process.
    """
    rows = embedding_rows(checkpoint.tensors)
    if rows is not None and template.largest_id >= rows:
        raise StartError(
            f"the tokenizer's largest id is {template.largest_id}; the embedding has {rows} rows"
        )


def _architecture(backbone: Any) -> dict[str, object]:
    """The config values that shape the function but no tensor: heads, rope, norms, windows."""
    text, vision = backbone.config.text_config.to_dict(), backbone.config.vision_config.to_dict()
    text["rope_parameters"] = _rope(text["rope_parameters"])
    keys = (
        "num_attention_heads", "num_key_value_heads", "rms_norm_eps", "rope_parameters", "hidden_act",
        "num_heads", "window_size", "fullatt_block_indexes", "use_sliding_window", "sliding_window",
        "max_window_layers",
    )  # fmt: skip
    return {
        "type": backbone.config.model_type,
        "text": {k: text[k] for k in keys if k in text},
        "vision": {k: vision[k] for k in keys if k in vision},
    }


def _rope(stated: Mapping[str, Any]) -> dict[str, object]:
    """What rotary positions are computed from: older spellings leave names behind that nobody reads ("type")."""
    kind = stated.get("rope_type", "default")
    plain = kind in ("default", "mrope")
    names = ("rope_theta", "mrope_section") if plain else tuple(sorted({*stated} - {"type"}))
    return {"rope_type": "default" if plain else kind} | {
        k: stated[k] for k in names if k in stated
    }
