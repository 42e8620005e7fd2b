"""AReaL: `reward_fn="basereward_client.adapters.areal.reward_fn"` of RLVRWorkflow and VisionRLVRWorkflow.

AReaL runs it in a pool of few processes and takes 0 for what is not done in 15 s, four times over. `async_reward_fn`
passes by the pool, and fails loudly: `workflow.async_reward_fn = async_reward_fn` once the workflow is made, with
`reward_fn` itself. Made with its name, a workflow puts the pool back in its first episode.
"""

from typing import Any

from basereward_client import Scheme
from basereward_client.adapters.scoring import RAW, URL, async_client, client, shaped
from basereward_client.adapters.texts import rollout

TIMEOUT_S = 12.0  # below AReaL's 15, so that it meets an error, which it repeats and then raises


def reward_fn(
    prompt: str,
    completions: str,
    prompt_ids: list[int],  # noqa: ARG001 - AReaL's signature
    completion_ids: list[int],  # noqa: ARG001
    **row: Any,
) -> float:
    """The model's own score; `row` is the dataset's, of which `images` are read."""
    item = rollout(prompt, completions, row.get("images"))
    return float(client(timeout=TIMEOUT_S).score([item])[0])


def make_async_reward_fn(
    url: URL = None,
    *,
    scheme: Scheme = RAW,
    answer_column: str = "answer",
    **settings: Any,
) -> Any:
    """`async_reward_fn(prompt, completions, prompt_ids, completion_ids, **row)` of this scheme."""

    async def async_reward_fn(
        prompt: str,
        completions: str,
        prompt_ids: list[int],  # noqa: ARG001
        completion_ids: list[int],  # noqa: ARG001
        **row: Any,
    ) -> float | None:
        item = rollout(prompt, completions, row.get("images"))
        scores = await async_client(url, **settings).score([item])
        answers = [row[answer_column]] if scheme.kind == "hybrid" else None
        (reward,) = shaped(scheme, scores, [item["response"]], answers)
        return reward

    return async_reward_fn


async_reward_fn = make_async_reward_fn()
