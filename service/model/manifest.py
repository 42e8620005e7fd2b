"""The manifest: what tensors cannot tell (API.md §6), and the recipes that state it for known training stacks."""

import json
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from service.errors import StartError
from service.model.folder import exists, read_json

FILE_NAME = "reward_manifest.json"

Activation = Literal["silu", "relu", "tanh", "none"]
Pool = Literal["last", "last_strip_newline"]
Dtype = Literal["float32", "bfloat16"]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class HeadRules(_Part):
    prefix: str = Field(min_length=1)
    activation: Activation


class TemplateRules(_Part):
    system: str = "default"  # "default": the chat template's own; "": no system turn; else its text
    image_position: Literal["before_text", "after_text"] = "before_text"


class PixelRules(_Part):
    min: Annotated[int, Field(gt=0, lt=2**31)] = 3136
    max: Annotated[int, Field(gt=0, lt=2**31)] = 1_003_520
    apply_exif: bool = True

    @model_validator(mode="after")
    def _ordered(self) -> "PixelRules":
        if self.min > self.max:
            raise ValueError(f"min {self.min} is above max {self.max}")
        return self


class ScoreRules(_Part):
    """reward = ((head * scale + offset) - mean) / std"""

    scale: float = 1.0
    offset: float = 0.0
    mean: float = 0.0
    std: Annotated[float, Field(gt=0)] = 1.0

    def reward(self, raw: float) -> float:
        return ((raw * self.scale + self.offset) - self.mean) / self.std


class Golden(_Part):
    """One example whose reward is known; `image` is a path inside the checkpoint folder."""

    prompt: str
    response: str
    reward: float
    image: str | None = None


class Manifest(_Part):
    format: Literal["basereward/1"] = "basereward/1"
    head: HeadRules
    pool: Pool
    template: TemplateRules = TemplateRules()
    pixels: PixelRules = PixelRules()
    max_tokens: Annotated[int, Field(gt=0, le=2**22)] = 32_768
    score: ScoreRules = ScoreRules()
    scoring: Literal["pointwise"] = "pointwise"
    constant_ok: bool = False  # the head may give every input one number
    golden: tuple[Golden, ...] = ()
    golden_tolerance: Mapping[Dtype, Annotated[float, Field(gt=0)]] = {
        "float32": 1e-4,
        "bfloat16": 0.05,
    }

    def tolerance(self, dtype: str) -> float:
        """How far equal functions may differ at a precision; the loosest stated where it states none."""
        stated: Mapping[str, float] = {str(k): v for k, v in self.golden_tolerance.items()}
        return stated.get(dtype, max(stated.values(), default=0.05))

    def function(self) -> dict[str, Any]:
        """What decides a reward: not what checks it, nor what the head was called on disk."""
        outside: dict[str, Any] = {"golden": True, "golden_tolerance": True, "head": {"prefix"}}
        outside["constant_ok"] = True
        return self.model_dump(mode="json", exclude=outside)


_PIXELS = PixelRules()


PARTS: dict[str, type[_Part]] = {
    "head": HeadRules,
    "template": TemplateRules,
    "pixels": PixelRules,
    "score": ScoreRules,
}


def _recipe(prefix: str, activation: Activation, pool: Pool) -> Manifest:
    return Manifest(head=HeadRules(prefix=prefix, activation=activation), pool=pool)


# What each stack does with the same chat text differs in the pooled token (reference: docs/checkpoints.md).
RECIPES = {
    "basereward": _recipe("score", "silu", "last_strip_newline"),
    "ms-swift-3": _recipe("score", "none", "last_strip_newline"),
    "ms-swift-4": _recipe("score", "none", "last"),
    "llamafactory": _recipe("v_head", "none", "last"),
    "trl": _recipe("score", "none", "last"),
    "openrlhf": _recipe("score", "none", "last_strip_newline"),
}


def from_recipe(name: str, config: dict[str, Any], pixels: PixelRules = _PIXELS) -> Manifest:
    """The manifest a training stack implies, with the pixel limits that the folder states.

    OpenRLHF states part of it in `config.json`.

    Raises:
        StartError: no such recipe.
    """
    if name not in RECIPES:
        raise StartError(f"unknown recipe {name!r}; known: {', '.join(RECIPES)}")
    manifest = RECIPES[name].model_copy(update={"pixels": pixels})
    return _openrlhf(manifest, config) if name == "openrlhf" else manifest


def _openrlhf(manifest: Manifest, config: dict[str, Any]) -> Manifest:
    values = manifest.model_dump(mode="json")
    values["head"]["prefix"] = config.get("value_head_prefix", manifest.head.prefix)
    if config.get("normalize_reward"):
        values["score"] |= {"mean": config.get("mean", 0.0), "std": config.get("std", 1.0)}
    try:
        return validated(values)
    except StartError as error:
        raise StartError(f"config.json, read as OpenRLHF's: {error}") from None


def read(folder: Path) -> Manifest | None:
    """The folder's manifest, or None if it has none.

    Raises:
        StartError: it is not valid; names the first fault.
    """
    return validated(read_json(folder, FILE_NAME)) if exists(folder, FILE_NAME) else None


def validated(values: object) -> Manifest:
    """
    Raises:
        StartError: the values are no manifest; names the first fault.
    """
    try:
        return Manifest.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        if first["type"] == "extra_forbidden":
            raise StartError(f"{FILE_NAME}: {_unknown(first['loc'])}") from None
        where = ".".join(map(str, first["loc"])) or "file"
        raise StartError(f"{FILE_NAME}: {where}: {first['msg']}") from None


def _unknown(where: tuple[int | str, ...]) -> str:
    """The key that no manifest has, by its whole name, and the one that may be meant."""
    names = ".".join(map(str, where))
    part: type[_Part] = PARTS.get(".".join(map(str, where[:-1])), Manifest)
    near = get_close_matches(str(where[-1]), part.model_fields, n=1)
    return f"unknown key {names[:200]!r}" + (f"; did you mean {near[0]!r}?" if near else "")


def write(manifest: Manifest, folder: Path) -> Path:
    path = folder / FILE_NAME
    path.write_text(json.dumps(manifest.model_dump(mode="json"), indent=2) + "\n", "utf-8")
    return path
