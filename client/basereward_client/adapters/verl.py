"""verl: `compute_score`, a reward function; and `BaseRewardManager`, which needs no change to the dataset.

Both are loaded by `pkg://basereward_client.adapters.verl`. Their settings are `url`, `scheme` and the client's.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any

from basereward_client import Scheme
from basereward_client.adapters.scoring import RAW, URL, async_client, scheme_of, shaped
from basereward_client.adapters.texts import described, seated

_FROM_VERL = {"reward_router_address", "reward_model_tokenizer"}


async def compute_score(
    data_source: str,  # noqa: ARG001 - verl's signature
    solution_str: str,
    ground_truth: Any,
    extra_info: Mapping[str, Any] | None = None,
    **reward_kwargs: Any,
) -> dict[str, float | None]:
    """The reward of one rollout, whose `extra_info` holds `prompt` or `question`, and `image` or `images`."""
    settings = {key: value for key, value in reward_kwargs.items() if key not in _FROM_VERL}
    return await _scored(described(extra_info or {}), solution_str, ground_truth, **settings)


async def _scored(
    item: dict[str, Any],
    response: str,
    answer: Any,
    url: URL = None,
    scheme: Scheme | str | Mapping[str, Any] = RAW,
    **settings: Any,
) -> dict[str, float | None]:
    scores = await async_client(url, **settings).score([item | {"response": response}])
    (reward,) = shaped(scheme_of(scheme), scores, [response], [answer])
    return {"score": reward, "raw_score": scores[0]}


def __getattr__(name: str) -> Any:
    if name == "BaseRewardManager":
        return _manager()
    raise AttributeError(name)


@cache
def _manager() -> type:
    from verl.experimental.reward_loop.reward_manager.base import RewardManagerBase

    class BaseRewardManager(RewardManagerBase):
        """Scores the chat in `raw_prompt`, with the pictures in it; settings: `reward.reward_kwargs`."""

        def __init__(self, config: Any, tokenizer: Any, compute_score: Any, **_: Any) -> None:
            super().__init__(config, tokenizer, compute_score)
            self.settings = dict(config.reward.get("reward_kwargs") or {})

        async def run_single(self, data: Any) -> dict[str, Any]:
            row = data[-1]  # of a rollout of several sequences the last is judged
            ids = row.batch["responses"]
            length = int(row.batch["attention_mask"][-len(ids) :].sum())
            response = self.tokenizer.decode(ids[:length], skip_special_tokens=True)
            item = {"messages": seated(list(row.non_tensor_batch["raw_prompt"]))}
            answer = row.non_tensor_batch.get("reward_model", {}).get("ground_truth")
            result = await _scored(item, response, answer, **self.settings)
            return {"reward_score": result.pop("score"), "reward_extra_info": result}

    return BaseRewardManager
