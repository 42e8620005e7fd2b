"""TRL: a reward function for GRPOTrainer, RLOOTrainer and whatever else takes `reward_funcs`."""

import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from basereward_client import AsyncRewardClient, RewardClient, Rewards, Scheme
from basereward_client.adapters.scoring import RAW, URL, need_answers, new, shaped
from basereward_client.adapters.texts import context, grouped, is_empty

log = logging.getLogger("basereward_client")


def make_reward_func(
    url: URL = None,
    *,
    scheme: Scheme = RAW,
    is_async: bool = False,
    name: str = "basereward",
    answer_column: str | None = None,
    image_column: str | None = None,
    **settings: Any,
) -> "RewardFunc | AsyncRewardFunc":
    """A picklable reward function; `settings` are the client's, the environment's where there is no `url`.

    `answer_column` names the dataset's column of reference answers, for the hybrid scheme; `image_column` that of
    pictures, one or a list of them a row, where it is called neither `image` nor `images`.
    """
    need_answers(scheme, answer_column)
    columns = answer_column, image_column
    if is_async:
        return AsyncRewardFunc(new(AsyncRewardClient, url, **settings), scheme, name, *columns)
    return RewardFunc(new(RewardClient, url, **settings), scheme, name, *columns)


class _Function:
    def __init__(
        self,
        client: Any,
        scheme: Scheme,
        name: str,
        answer_column: str | None,
        image_column: str | None = None,
    ) -> None:
        self.client, self.scheme = client, scheme
        self.answer_column, self.image_column = answer_column, image_column
        self._told = False
        self.__name__ = name  # TRL calls the metrics rewards/<name>/mean and /std

    def _contexts(self, prompts: Sequence[Any], columns: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The rows' contexts; once it is told how many of them have pictures, and which column nobody reads."""
        images = _images(columns, self.image_column, len(prompts))
        contexts = [context(prompt, own) for prompt, own in zip(prompts, images, strict=True)]
        shown = sum(_has_picture(one) for one in contexts)
        if not self._told:
            self._told = True
            log.info("%d of %d rows have pictures", shown, len(contexts))
            for column in _unread(columns, self.image_column):
                log.warning(
                    "the column %r holds pictures that are not scored: name it with image_column",
                    column,
                )
        if report := columns.get("log_metric"):
            report(f"{self.__name__}/pictures", float(shown))
        return contexts

    def _rewards(
        self, scored: Rewards, groups: list[int], texts: list[str], columns: dict[str, Any]
    ) -> list[float | None]:
        scores = [score for group in scored for score in group]
        if report := columns.get("log_metric"):
            for part in ("total_s", "queue_s", "forward_s"):
                report(f"{self.__name__}/{part}", getattr(scored.timing, part))
        answers = columns[self.answer_column] if self.answer_column else None
        return shaped(self.scheme, scores, texts, answers, groups)


class RewardFunc(_Function):
    def __call__(
        self, prompts: Sequence[Any], completions: Sequence[Any], **columns: Any
    ) -> list[float | None]:
        texts = [_text(completion) for completion in completions]
        items, groups = grouped(self._contexts(prompts, columns), texts)
        return self._rewards(self.client.score(items), groups, texts, columns)


class AsyncRewardFunc(_Function):
    async def __call__(
        self, prompts: Sequence[Any], completions: Sequence[Any], **columns: Any
    ) -> list[float | None]:
        texts = [_text(completion) for completion in completions]
        items, groups = grouped(self._contexts(prompts, columns), texts)
        return self._rewards(await self.client.score(items), groups, texts, columns)


def _images(columns: Mapping[str, Any], named: str | None, rows: int) -> list[Any]:
    """Each row's pictures: a list of them, or None.

    Raises:
        ValueError: there is no column of that name.
    """
    if named is not None:
        if named not in columns:
            raise ValueError(f"no column {named!r}; there are {sorted(columns)}")
        return [_listed(value) for value in columns[named]]
    if not is_empty(columns.get("images")):
        return list(columns["images"])
    if not is_empty(columns.get("image")):
        return [_listed(value) for value in columns["image"]]
    return [None] * rows


def _listed(value: Any) -> Any:
    return value if value is None or isinstance(value, list | tuple) else [value]


def _has_picture(item: Mapping[str, Any]) -> bool:
    turns = item.get("messages", ())
    parts = (
        part for turn in turns if not isinstance(turn["content"], str) for part in turn["content"]
    )
    return bool(item.get("images")) or any(part["type"] == "image" for part in parts)


def _unread(columns: Mapping[str, Any], named: str | None) -> Iterator[str]:
    """Columns of PIL images that no reward function is told of."""
    pil = sys.modules.get("PIL.Image")
    for name, values in columns.items():
        if pil is None or name in ("image", "images", named) or not isinstance(values, list):
            continue
        first = values[0] if values else None
        first = first[0] if isinstance(first, list | tuple) and first else first
        if isinstance(first, pil.Image):
            yield name


def _text(completion: Any) -> str:
    """The completion's text; several turns are no single response."""
    if isinstance(completion, str):
        return completion
    if len(completion) != 1:
        raise ValueError("a completion of several turns is no single response to score")
    content = completion[0]["content"]
    return content if isinstance(content, str) else "".join(part["text"] for part in content)
