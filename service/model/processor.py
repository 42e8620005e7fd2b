"""What a checkpoint's processor files say about pictures: honoured, or refused by name."""

import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from service.errors import StartError
from service.model.folder import exists, read_json
from service.model.manifest import PixelRules

OLD_FILE = "preprocessor_config.json"
NEW_FILE = (
    "processor_config.json"  # transformers 5 saves this one alone, the values under image_processor
)
NESTED = "image_processor"
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
_LEVELS = 255.0  # of a byte: rescale_factor is 1/255 unless it is stated
_BICUBIC = 3  # PIL's number
_CHANNELS = 3
_STEPS = ("do_resize", "do_rescale", "do_normalize", "do_convert_rgb")
_NULL_DECIDES = ("do_rescale", "do_normalize", "resample")
_NOT_OF_PICTURES = ("do_sample_frames",)
_CLASSES = ("Qwen2VLImageProcessor", "Qwen2_5_VLImageProcessor")
_ENDINGS = ("", "Fast", "Pil")


@dataclass(frozen=True, slots=True)
class Processor:
    """The values that decide what the vision tower sees; None: not stated."""

    file: str = OLD_FILE  # that states them
    mean: tuple[float, ...] = CLIP_MEAN  # of pixel / 255, whatever the stated rescale_factor
    std: tuple[float, ...] = CLIP_STD
    min_pixels: int | None = None
    max_pixels: int | None = None
    sizes: dict[str, int] = field(default_factory=dict)  # patch_size, merge_size, …
    warnings: tuple[str, ...] = ()

    @property
    def effective(self) -> dict[str, object]:
        """Everything, transformers' defaults where nothing is stated."""
        rules = self.rules(PixelRules())
        sizes = {key: self.sizes.get(key, default) for key, (_, default) in _FIXED.items()}
        limits = {"min_pixels": rules.min, "max_pixels": rules.max}
        return {"image_mean": self.mean, "image_std": self.std, **limits, **sizes}

    def rules(self, defaults: PixelRules) -> PixelRules:
        """A recipe's rules with the limits that the folder states."""
        stated = {"min": self.min_pixels, "max": self.max_pixels}
        known = {key: value for key, value in stated.items() if value is not None}
        return defaults.model_copy(update=known)

    def contradictions(self, rules: PixelRules) -> list[str]:
        """Where a manifest, which wins, says something else."""
        pairs = (("min", self.min_pixels, rules.min), ("max", self.max_pixels, rules.max))
        return [
            f"reward_manifest.json: pixels.{key} = {used} is used; {self.file} says {stated}"
            for key, stated, used in pairs
            if stated is not None and stated != used
        ]


def read_processor(folder: Path) -> Processor:
    """The folder's processor; CLIP's values where it has none.

    `image_processor` of processor_config.json wins over preprocessor_config.json, as in transformers 5.

    Raises:
        StartError: a stated value is not served; names it.
    """
    old = read_json(folder, OLD_FILE) if exists(folder, OLD_FILE) else {}
    new = read_json(folder, NEW_FILE) if exists(folder, NEW_FILE) else {}
    nested = new.get(NESTED)
    if nested is None:
        return _processor(_stated(old), OLD_FILE)
    if not isinstance(nested, dict):
        raise StartError(f"{NEW_FILE}: {NESTED} is not an object")
    return replace(_processor(_stated(nested), NEW_FILE), warnings=_warnings(nested, old))


def _stated(values: dict[str, Any]) -> dict[str, Any]:
    """Null is as good as nothing; but transformers leaves a step out, or resizes otherwise, where it is null."""
    return {k: v for k, v in values.items() if v is not None or k in _NULL_DECIDES}


def _warnings(nested: dict[str, Any], old: dict[str, Any]) -> tuple[str, ...]:
    """Where the file that is not used says something else."""
    if not old:
        return ()
    try:
        unused = _processor(_stated(old), OLD_FILE)
    except StartError as error:
        return (f"{NEW_FILE} is used; {error}",)
    used = _processor(_stated(nested), NEW_FILE)
    pairs = zip(used.effective.items(), unused.effective.values(), strict=True)
    return tuple(
        f"{NEW_FILE}: {key} = {value} is used; {OLD_FILE} says {other}"
        for (key, value), other in pairs
        if value != other
    )


_FIXED = {
    "patch_size": ("patch_size", 14),
    "merge_size": ("spatial_merge_size", 2),
    "temporal_patch_size": ("temporal_patch_size", 2),
}


def _processor(stated: dict[str, Any], file: str) -> Processor:
    _check_steps(stated, file)
    low, high = _limits(stated, file)
    factor = _number(stated, "rescale_factor", file) if "rescale_factor" in stated else 1 / _LEVELS
    if not factor > 0:
        raise StartError(f"{file}: rescale_factor = {factor} is not served; a positive number is")
    mean = _channels(stated, "image_mean", CLIP_MEAN, file)
    std = _channels(stated, "image_std", CLIP_STD, file)
    if 0 in std:
        raise StartError(f"{file}: image_std = {list(std)} is not served; 0 divides no pixel")
    if factor != 1 / _LEVELS:  # (x f - mean) / std is (x / 255 - mean / 255 f) / (std / 255 f)
        mean = tuple(value / (_LEVELS * factor) for value in mean)
        std = tuple(value / (_LEVELS * factor) for value in std)
    sizes = {key: _whole(stated, key, file) for key in _FIXED if key in stated}
    return Processor(file, mean, std, low, high, sizes)


def _check_steps(stated: dict[str, Any], file: str) -> None:
    for key, value in stated.items():
        if key in _STEPS and value is not True:
            shown = {False: "false", None: "null"}.get(value, repr(value))
            raise StartError(f"{file}: {key} = {shown} is not served")
        other = key.startswith("do_") and key not in (*_STEPS, *_NOT_OF_PICTURES)
        if other and value is not False:
            shown = "true" if value is True else repr(value)
            raise StartError(f"{file}: {key} = {shown} is not served; pictures have no such step")
    resample = stated.get("resample", _BICUBIC)
    if resample != _BICUBIC or isinstance(resample, bool):
        raise StartError(f"{file}: resample = {resample!r} is not served; 3 (bicubic) is")
    kind = stated.get("image_processor_type")
    if kind is not None and kind not in [name + end for name in _CLASSES for end in _ENDINGS]:
        raise StartError(f"{file}: image_processor_type {kind!r} is not served; Qwen2-VL's is")


def _limits(stated: dict[str, Any], file: str) -> tuple[int | None, int | None]:
    """min_pixels and max_pixels win over size, as in transformers."""
    size = stated.get("size", {})
    edges = {"shortest_edge", "longest_edge", "min_pixels", "max_pixels"}
    if not isinstance(size, dict) or not {k for k, v in size.items() if v is not None} <= edges:
        raise StartError(
            f"{file}: size = {size!r} is not served; shortest_edge and longest_edge (in pixels of area) are"
        )
    found: list[int | None] = []
    for key, edge in (("min_pixels", "shortest_edge"), ("max_pixels", "longest_edge")):
        values = [(stated, key), (size, edge), (size, key)]
        found.append(next((_whole(v, k, file) for v, k in values if v.get(k) is not None), None))
    low, high = found
    if low is not None and high is not None and low > high:
        raise StartError(f"{file}: min_pixels {low} is above max_pixels {high}")
    return low, high


def _channels(
    stated: dict[str, Any], key: str, default: tuple[float, ...], file: str
) -> tuple[float, ...]:
    values = stated.get(key, default)
    if not isinstance(values, list | tuple):
        values = [values] * _CHANNELS  # one number for all, as in transformers
    if len(values) != _CHANNELS:
        raise StartError(f"{file}: {key} = {values!r} is not served; {_CHANNELS} numbers are")
    return tuple(_number({key: value}, key, file) for value in values)


def _number(stated: dict[str, Any], key: str, file: str) -> float:
    value = stated[key]
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise StartError(f"{file}: {key} = {value!r} is not served; a finite number is")
    return float(value)


def _whole(stated: dict[str, Any], key: str, file: str) -> int:
    value = stated[key]
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 2**31:
        raise StartError(f"{file}: {key} = {value!r} is not served; a whole number above 0 is")
    return value


def built_sizes(processor: Processor, vision: dict[str, Any]) -> dict[str, int]:
    """patch_size, merge_size and temporal_patch_size of config.json.

    Raises:
        StartError: the processor states another.
    """
    built = {key: vision.get(name, default) for key, (name, default) in _FIXED.items()}
    for key, value in built.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise StartError(
                f"config.json: vision_config.{_FIXED[key][0]} = {value!r} is not served"
            )
        if processor.sizes.get(key, value) != value:
            raise StartError(
                f"{processor.file}: {key} is {processor.sizes[key]}, config.json builds {value}"
            )
    return built
