"""slime: `--custom-rm-path basereward_client.adapters.slime.reward`, with `--group-rm` or without."""

from collections.abc import Sequence
from typing import Any

from basereward_client import Scheme
from basereward_client.adapters.scoring import RAW, URL, async_client, shaped
from basereward_client.adapters.texts import Item, context, ended, rollout


def make_reward(url: URL = None, *, scheme: Scheme = RAW, **settings: Any) -> Any:
    """`async def reward(args, sample)`; a sample's label is the reference answer of the hybrid scheme."""

    async def reward(args: Any, sample: Any, **_: Any) -> Any:  # noqa: ARG001 - slime's signature
        samples = sample if isinstance(sample, list) else [sample]
        items = [_item(one) for one in samples]
        scores = await async_client(url, **settings).score(items)
        texts = [item["response"] for item in items]
        labels = [one.label for one in samples]
        groups = [one.group_index for one in samples] if isinstance(sample, list) else None
        rewards = shaped(scheme, scores, texts, labels, groups)
        return rewards if isinstance(sample, list) else rewards[0]

    return reward


reward = make_reward()


def _item(sample: Any) -> Item:
    """`prompt` is templated with --apply-chat-template, chat turns without, or plain text."""
    images: Sequence[Any] | None = (sample.multimodal_inputs or {}).get("images")
    if isinstance(sample.prompt, str):
        return rollout(sample.prompt, sample.response, images)
    return context(sample.prompt) | {"response": ended(sample.response)}
