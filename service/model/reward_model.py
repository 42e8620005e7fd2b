"""BaseReward as the engine sees it: the `RewardModel` of core, made of the rest of this room."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
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
    Step,
    Warned,
)
from service.errors import InvalidRequest
from service.model import backbone as backbones
from service.model import device as devices
from service.model import padded
from service.model.backbone import Progress
from service.model.checkpoint import Checkpoint
from service.model.golden import check_golden
from service.model.padded import Encoded, PaddedStep
from service.model.pixels import patchify, read_shape
from service.model.template import ChatTemplate, Ids

CONTROL_TEXT = "control_text"
TRUNCATED = "truncated"


class BaseRewardModel:
    """One checkpoint on one device."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        *,
        name: str = "basereward",
        device: str = "auto",
        dtype: str = "auto",
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
        elements = sum(tensor.elements for tensor in checkpoint.tensors.served)
        devices.check_memory(elements * self._dtype.itemsize, self._device)
        # TF32 in the patch embedding would cost float32 its meaning.
        torch.backends.cudnn.allow_tf32 = False
        weights = backbones.load(checkpoint, self._dtype, self._device, progress)
        self._backbone, self._head = weights.backbone, weights.head
        self.info = self._describe(name, weights.tensor_digests)

    def patchify(self, raster: Raster) -> Patches:
        return patchify(raster, self._shape)

    def encode(
        self, items: Sequence[Item], pictures: Mapping[Picture, Patches]
    ) -> list[Example | Exception]:
        return [self._encode_or_error(item, pictures) for item in items]

    def stage(self, step: Step) -> PaddedStep:
        return padded.stage(step, self._shape, self._template.pad_id, self._device)

    def score(self, staged: object) -> list[list[float]]:
        assert isinstance(staged, PaddedStep)
        raw = padded.score(staged, self._backbone, self._head)
        rule = self.checkpoint.manifest.score
        return [[rule.reward(value) for value in group] for group in raw]

    def check(self) -> None:
        check_golden(self, self.checkpoint)

    def memory(self) -> DeviceMemory | None:
        return devices.memory(self._device)

    # Encoding

    def _encode_or_error(
        self, item: Item, pictures: Mapping[Picture, Patches]
    ) -> Example | Exception:
        try:
            return self._encode(item, pictures)
        except InvalidRequest as error:
            return error

    def _encode(self, item: Item, pictures: Mapping[Picture, Patches]) -> Example:
        item = _with_whole_texts(item)
        grids = tuple(
            pictures[part]
            for turn in item.turns
            for part in turn.parts
            if isinstance(part, Picture)
        )
        sequences = self._template.encode(item, grids)
        warnings = self._control_warnings(item)
        limit = self.info.max_tokens
        if item.truncate_prompt:
            warnings += self._truncate(item, grids, sequences)
        return Example(
            lengths=tuple(map(len, sequences)),
            image_tokens=sum(p.num_tokens for p in grids),
            data=Encoded(tuple(sequences), grids, self._template.image_pad_id),
            warnings=tuple(warnings),
            refused=_too_long(sequences, limit),
        )

    def _truncate(self, item: Item, grids: Sequence[Patches], sequences: list[Ids]) -> list[Warned]:
        """Cut the prompt's start for each response that is over, in place; siblings are not affected."""
        notes = []
        for r, ids in enumerate(sequences):
            if len(ids) > self.info.max_tokens:
                alone = replace(item, responses=(item.responses[r],))
                fitted, dropped = self._fit(alone, grids, ids)
                if len(fitted) <= self.info.max_tokens:  # else it is refused, with its own size
                    sequences[r] = fitted
                    message = f"{dropped} tokens dropped from the start of the prompt"
                    notes.append(Warned(TRUNCATED, message, r))
        return notes

    def _fit(self, item: Item, grids: Sequence[Patches], ids: Ids) -> tuple[Ids, int]:
        """Merges at the cut may cost or save a token, so it is measured again until it fits."""
        dropped = 0
        while (over := len(ids) - self.info.max_tokens) > 0:
            item, lost = _drop_front(item, over, self._template)
            if lost == 0:
                break
            dropped += lost
            (ids,) = self._template.encode(item, grids)
        return ids, dropped

    def _control_warnings(self, item: Item) -> list[Warned]:
        texts = [p for turn in item.turns for p in turn.parts if isinstance(p, str)]
        texts.append(item.system or "")
        found: list[int | None] = []
        if any(map(self._template.has_control_text, texts)):
            found.append(None)
        found += [r for r, x in enumerate(item.responses) if self._template.has_control_text(x)]
        message = "control tokens in the text were scored as ordinary characters"
        return [Warned(CONTROL_TEXT, message, r) for r in found]

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


def _too_long(sequences: Sequence[Ids], limit: int) -> dict[int, Exception]:
    """The responses whose sequence is over the limit; their siblings are scored all the same."""
    return {
        r: InvalidRequest(f"{len(ids)} tokens exceed {limit}", code="item_too_long", response=r)
        for r, ids in enumerate(sequences)
        if len(ids) > limit
    }


def _with_whole_texts(item: Item) -> Item:
    """Adjacent texts as one: apart, two of them could join to a control token in the template."""
    return replace(item, turns=tuple(replace(t, parts=_joined(t.parts)) for t in item.turns))


def _joined(parts: Sequence[str | Picture]) -> tuple[str | Picture, ...]:
    whole: list[str | Picture] = []
    for part in parts:
        if isinstance(part, str) and whole and isinstance(whole[-1], str):
            whole[-1] += part
        else:
            whole.append(part)
    return tuple(whole)


def _drop_front(item: Item, tokens: int, template: ChatTemplate) -> tuple[Item, int]:
    """The item with the last user turn's text shortened from its start, and the tokens dropped."""
    index = max(i for i, turn in enumerate(item.turns) if turn.role == "user")
    parts: list[str | Picture] = []
    lost = 0
    for part in item.turns[index].parts:
        if isinstance(part, str) and lost < tokens:
            part, count = template.drop_front(part, tokens - lost)
            lost += count
        parts.append(part)
    turns = list(item.turns)
    turns[index] = replace(item.turns[index], parts=tuple(parts))
    return replace(item, turns=tuple(turns)), lost


def _architecture(backbone: Any) -> dict[str, object]:
    """The config values that shape the function but no tensor: heads, rope, norms, windows."""
    text, vision = backbone.config.text_config.to_dict(), backbone.config.vision_config.to_dict()
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
