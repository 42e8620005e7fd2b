"""TRL: a reward function for GRPOTrainer, RLOOTrainer and whatever else takes `reward_funcs`."""

from collections.abc import Sequence
from typing import Any

from basereward_client import AsyncRewardClient, RewardClient, Rewards, Scheme
from basereward_client.adapters.scoring import RAW, URL, need_answers, new, shaped
from basereward_client.adapters.texts import context, grouped


def make_reward_func(
    url: URL = None,
    *,
    scheme: Scheme = RAW,
    is_async: bool = False,
    name: str = "basereward",
    answer_column: str | None = None,
    **settings: Any,
) -> "RewardFunc | AsyncRewardFunc":
    """A picklable reward function; `settings` are the client's, the environment's where there is no `url`.

    `answer_column` names the dataset's column of reference answers, for the hybrid scheme.
    """
    need_answers(scheme, answer_column)
    if is_async:
        client = new(AsyncRewardClient, url, **settings)
        return AsyncRewardFunc(client, scheme, name, answer_column)
    return RewardFunc(new(RewardClient, url, **settings), scheme, name, answer_column)


class _Function:
    def __init__(self, client: Any, scheme: Scheme, name: str, answer_column: str | None) -> None:
        self.client, self.scheme, self.answer_column = client, scheme, answer_column
        self.__name__ = name  # TRL calls the metrics rewards/<name>/mean and /std

    def _rewards(
        self, scored: Rewards, groups: list[int], texts: list[str], columns: dict[str, Any]
    ) -> list[float | None]:
        scores = [score for group in scored for score in group]
        if log := columns.get("log_metric"):
            for part in ("total_s", "queue_s", "forward_s"):
                log(f"{self.__name__}/{part}", getattr(scored.timing, part))
        answers = columns[self.answer_column] if self.answer_column else None
        return shaped(self.scheme, scores, texts, answers, groups)


class RewardFunc(_Function):
    def __call__(
        self, prompts: Sequence[Any], completions: Sequence[Any], **columns: Any
    ) -> list[float | None]:
        texts = [_text(completion) for completion in completions]
        items, groups = grouped(_contexts(prompts, columns), texts)
        return self._rewards(self.client.score(items), groups, texts, columns)


class AsyncRewardFunc(_Function):
    async def __call__(
        self, prompts: Sequence[Any], completions: Sequence[Any], **columns: Any
    ) -> list[float | None]:
        texts = [_text(completion) for completion in completions]
        items, groups = grouped(_contexts(prompts, columns), texts)
        return self._rewards(await self.client.score(items), groups, texts, columns)


def _contexts(prompts: Sequence[Any], columns: dict[str, Any]) -> list[dict[str, Any]]:
    single = [image if image is None else [image] for image in columns.get("image") or ()]
    images = columns.get("images") or single or [None] * len(prompts)
    return [context(prompt, own) for prompt, own in zip(prompts, images, strict=True)]


def _text(completion: Any) -> str:
    """The completion's text; several turns are no single response."""
    if isinstance(completion, str):
        return completion
    if len(completion) != 1:
        raise ValueError("a completion of several turns is no single response to score")
    content = completion[0]["content"]
    return content if isinstance(content, str) else "".join(part["text"] for part in content)
