"""What NeMo-Gym asks of a resources server beside `/verify`: sessions, of which nothing is kept, and statistics.

`POST /aggregate_metrics` comes after the last rollout of a collection: in `{"verify_responses": [{"_ng_task_index",
"reward"}]}` beside other columns, out statistics of the rewards, of each task and of all, by NeMo-Gym's own names.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from statistics import fmean, median, stdev
from typing import Any

import orjson
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from service.api.body import BodyReader, body_limits, reading
from service.api.endpoint import JSON_TYPES
from service.api.parsing import check_number
from service.api.strict_json import JsonReader
from service.engine import RewardEngine
from service.errors import InvalidRequest
from service.settings import Settings

TASK = "_ng_task_index"
MAX_REWARD = 1e300  # sums of as many as come in one request are finite


def resources_router(engine: RewardEngine, settings: Settings) -> APIRouter:
    router = APIRouter()

    @router.post("/seed_session")
    async def seed_session() -> Response:
        """NeMo-Gym asks before a rollout; there is nothing to prepare."""
        return JSONResponse({})

    @router.post("/aggregate_metrics")
    async def aggregate_metrics(request: Request) -> Response:
        """Statistics of the rewards of a NeMo-Gym collection, by task and of all."""
        tenant = request.state.tenant
        with reading(BodyReader(engine.admission, tenant, body_limits(settings))) as reader:
            deadline = request.state.begun_at + settings.timeout_s
            body = await reader.read(request, JSON_TYPES, deadline, patient=False)
            work = partial(_answer, body, settings.max_json_members, settings.max_responses)
            answer = await engine.beside(tenant.name, work)
            return Response(answer, media_type="application/json")

    return router


def _answer(body: bytearray, max_members: int, max_rollouts: int) -> bytes:
    return orjson.dumps(aggregated(JsonReader(max_members).read(body), max_rollouts))


def aggregated(parsed: Any, max_rollouts: int) -> dict[str, Any]:
    """
    Raises:
        InvalidRequest: it is no list of rollouts with rewards, or one of too many.
    """
    rollouts = parsed.get("verify_responses") if isinstance(parsed, dict) else None
    if not isinstance(rollouts, list):
        raise InvalidRequest("a list is needed", param="verify_responses")
    check_number(len(rollouts), max_rollouts)
    by_task: dict[int, list[float]] = {}
    for index, rollout in enumerate(rollouts):
        task, reward = _rewarded(rollout, f"verify_responses[{index}]")
        by_task.setdefault(task, []).append(reward)
    every = [reward for rewards in by_task.values() for reward in rewards]
    whole = _statistics(every) if every else {}
    return {
        "group_level_metrics": [{TASK: t} | _statistics(by_task[t]) for t in sorted(by_task)],
        "agent_metrics": whole,
        "key_metrics": {name: value for name, value in whole.items() if name.startswith("mean/")},
    }


def _rewarded(rollout: Any, param: str) -> tuple[int, float]:
    known: Mapping[str, Any] = rollout if isinstance(rollout, dict) else {}
    task: Any = known.get(TASK, 0)
    reward: Any = known.get("reward")
    if type(task) is not int or type(reward) not in (int, float):  # which True is
        raise InvalidRequest(f"an integer {TASK} and a reward are needed", param=param)
    if abs(reward) > MAX_REWARD:
        raise InvalidRequest(f"the reward must be within ±{MAX_REWARD:g}", param=param)
    return task, float(reward)


def _statistics(rewards: Sequence[float]) -> dict[str, float]:
    return {
        "mean/reward": fmean(rewards),
        "max/reward": max(rewards),
        "min/reward": min(rewards),
        "median/reward": median(rewards),
        "std/reward": stdev(rewards) if len(rewards) > 1 else 0.0,
    }
