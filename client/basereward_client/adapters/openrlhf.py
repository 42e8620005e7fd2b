"""OpenRLHF: `reward_func` for `--reward.remote_url FILE.py`, `AgentExecutor` for `--train.agent_func_path FILE.py`.

FILE.py is a line: `from basereward_client.adapters.openrlhf import AgentExecutor`. Only an executor sees pictures.
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from basereward_client import Scheme
from basereward_client.adapters.scoring import RAW, URL, async_client, client, shaped
from basereward_client.adapters.texts import continuation, rollout


def make_reward_func(
    url: URL = None, *, scheme: Scheme = RAW, **settings: Any
) -> Callable[..., dict[str, Any]]:
    """`reward_func(queries, prompts, labels)`; labels are the reference answers of the hybrid scheme."""

    def reward_func(
        queries: Sequence[str], prompts: Sequence[str], labels: Sequence[Any]
    ) -> dict[str, Any]:
        import torch

        pairs = zip(queries, prompts, strict=True)
        items = [rollout(prompt, continuation(query, prompt)) for query, prompt in pairs]
        scores = client(url, **settings).score(items)
        texts = [item["response"] for item in items]
        rewards = torch.tensor(shaped(scheme, scores, texts, labels))
        logs = {"raw_score": torch.tensor(scores)}
        return {"rewards": rewards, "scores": rewards, "extra_logs": logs}

    return reward_func


reward_func = make_reward_func()


def make_agent_executor(url: URL = None, *, scheme: Scheme = RAW, **settings: Any) -> type:
    """A class, to be named `AgentExecutor`: one turn, scored with the pictures that `execute` is given."""
    from openrlhf.utils.agent import SingleTurnAgentExecutor

    class AgentExecutor(SingleTurnAgentExecutor):
        async def execute(  # noqa: PLR0913 - OpenRLHF's signature
            self,
            prompt: str,
            label: Any,
            sampling_params: Any,
            max_length: int,
            hf_tokenizer: Any,
            llm_engine: Any,
            images: Any = None,
        ) -> dict[str, Any]:
            given = prompt, label, sampling_params, max_length, hf_tokenizer, llm_engine, images
            output: dict[str, Any] = await super().execute(*given)
            start, end = output["action_ranges"][-1]
            written = output["observation_tokens"][start:end]
            text = hf_tokenizer.decode(written, skip_special_tokens=True)
            item = rollout(prompt, text, _listed(images))
            scores = await async_client(url, **settings).score([item])
            (reward,) = shaped(scheme, scores, [item["response"]], [label])
            logs = {"raw_score": scores[0]}
            return output | {"reward": reward, "scores": reward, "extra_logs": logs}

    return AgentExecutor


def _listed(images: Any) -> list[Any]:
    """OpenRLHF's one picture or list of pictures, in which None stands for no picture."""
    listed = images if isinstance(images, list) else [images]
    return [image for image in listed if image is not None]


_default_executor = cache(make_agent_executor)


def __getattr__(name: str) -> Any:
    if name == "AgentExecutor":
        return _default_executor()
    raise AttributeError(name)
