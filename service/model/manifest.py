"""The manifest: what tensors cannot tell (API.md §6), and the recipes that state it for known training stacks."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from service.errors import StartError

FILE_NAME = "reward_manifest.json"

Activation = Literal["silu", "relu", "tanh", "none"]
Pool = Literal["last", "last_strip_newline"]
Dtype = Literal["float32", "bfloat16"]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class HeadRules(_Part):
    prefix: str = Field(min_length=1)
    activation: Activation


class TemplateRules(_Part):
    system: str = "default"  # "default": the chat template's own; "": no system turn; else its text
    image_position: Literal["before_text", "after_text"] = "before_text"


class PixelRules(_Part):
    min: Annotated[int, Field(gt=0)] = 3136
    max: Annotated[int, Field(gt=0)] = 1_003_520
    apply_exif: bool = True


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
    max_tokens: Annotated[int, Field(gt=0)] = 32_768
    score: ScoreRules = ScoreRules()
    scoring: Literal["pointwise"] = "pointwise"
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
        """What decides a reward: not the golden scores, which check it, nor what the head was called on disk."""
        outside: dict[str, Any] = {"golden": True, "golden_tolerance": True, "head": {"prefix"}}
        return self.model_dump(mode="json", exclude=outside)


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


def from_recipe(name: str, config: dict[str, Any]) -> Manifest:
    """The manifest a training stack implies; OpenRLHF states part of it in `config.json`.

    Raises:
        StartError: no such recipe.
    """
    if name not in RECIPES:
        raise StartError(f"unknown recipe {name!r}; known: {', '.join(RECIPES)}")
    manifest = RECIPES[name]
    return _openrlhf(manifest, config) if name == "openrlhf" else manifest


def _openrlhf(manifest: Manifest, config: dict[str, Any]) -> Manifest:
    values = manifest.model_dump(mode="json")
    values["head"]["prefix"] = config.get("value_head_prefix", manifest.head.prefix)
    if config.get("normalize_reward"):
        values["score"] |= {"mean": config.get("mean", 0.0), "std": config.get("std", 1.0)}
    return validated(values)


def read(folder: Path) -> Manifest | None:
    """The folder's manifest, or None if it has none.

    Raises:
        StartError: it is not valid; names the first fault.
    """
    path = folder / FILE_NAME
    if not path.is_file():
        return None
    try:
        return validated(json.loads(path.read_text("utf-8")))
    except ValueError as error:
        raise StartError(f"{FILE_NAME}: {error}") from None


def validated(values: object) -> Manifest:
    """
    Raises:
        StartError: the values are no manifest; names the first fault.
    """
    try:
        return Manifest.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "file"
        raise StartError(f"{FILE_NAME}: {where}: {first['msg']}") from None


def write(manifest: Manifest, folder: Path) -> Path:
    path = folder / FILE_NAME
    path.write_text(json.dumps(manifest.model_dump(mode="json"), indent=2) + "\n", "utf-8")
    return path
