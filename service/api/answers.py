"""Scored items to the response body and headers of `/score`."""

import math
from dataclasses import dataclass
from typing import Any

from service.api.parsing import ParsedRequest
from service.api.schemas import SigmoidTransform, Transform
from service.batching.planner import Outcome
from service.core import ModelInfo
from service.engine import Scored, Timing
from service.errors import ServiceError


@dataclass(frozen=True, slots=True)
class Served:
    """What an answer can say of who gives it."""

    info: ModelInfo
    request_id: str


STAGES = ("total", "prepare", "queue", "forward")


def score_body(parsed: ParsedRequest, scored: Scored, served: Served) -> dict[str, Any]:
    """The JSON of a `ScoreResponse`; rewards mirror the items."""
    rewards = [
        _mirror(group, grouped, parsed.options.transform)
        for group, grouped in zip(scored.outcomes, parsed.grouped, strict=True)
    ]
    info = served.info
    body: dict[str, Any] = {
        "id": served.request_id,
        "model": info.name,
        "fingerprint": info.fingerprint,
        "numerics": info.numerics,
        "rewards": rewards,
    }
    if parsed.short:
        body["reward"] = None if parsed.grouped[0] else rewards[0]
    if any(name is not None for name in parsed.ids):
        body["ids"] = parsed.ids
    usage = scored.usage
    return body | {
        "errors": _errors(scored.outcomes),
        "warnings": [
            {"index": i, "response": note.response, "code": note.code, "message": note.message}
            for i, note in scored.warnings
        ],
        "usage": {name: getattr(usage, name) for name in usage.__slots__},
        "timing_ms": {stage: round(getattr(scored.timing, stage) * 1000, 3) for stage in STAGES},
    }


def score_headers(info: ModelInfo, timing: Timing | None = None) -> dict[str, str]:
    headers = {"X-Model-Fingerprint": info.fingerprint, "X-Model-Numerics": info.numerics}
    if timing is not None:
        stages = (f"{stage};dur={getattr(timing, stage) * 1000:.3f}" for stage in STAGES)
        headers["Server-Timing"] = ", ".join(stages)
    return headers


def transformed(reward: float, transform: Transform) -> float:
    """The raw reward, or its sigmoid: 1 / (1 + exp(-(reward - offset) / temperature))."""
    if transform == "none":
        return reward
    sigmoid = transform.sigmoid if isinstance(transform, SigmoidTransform) else None
    temperature, offset = (sigmoid.temperature, sigmoid.offset) if sigmoid else (1.0, 0.0)
    x = (reward - offset) / temperature
    # The branch keeps exp's argument negative, so that it cannot overflow.
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))


def _mirror(
    group: list[Outcome], grouped: bool, transform: Transform
) -> float | list[float | None] | None:
    rewards = [None if isinstance(o, ServiceError) else transformed(o, transform) for o in group]
    return rewards if grouped else rewards[0]


def _errors(outcomes: list[list[Outcome]]) -> list[dict[str, Any]]:
    return [
        {"index": i, "response": r, "code": outcome.code, "message": outcome.located}
        for i, group in enumerate(outcomes)
        for r, outcome in enumerate(group)
        if isinstance(outcome, ServiceError)
    ]
