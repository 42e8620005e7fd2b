"""ms-swift: an ORM whose class a plugin file registers: `orms["basereward"] = make_orm()`.

Never give this file itself to `--external_plugins`: its folder would then hide the packages trl, verl and swift.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

from basereward_client import Scheme
from basereward_client.adapters.scoring import RAW, URL, async_client, client, need_answers, shaped
from basereward_client.adapters.texts import Item, grouped, seated, tagged


def make_orm(
    url: URL = None,
    *,
    scheme: Scheme = RAW,
    is_async: bool = True,
    answer_column: str | None = None,
    **settings: Any,
) -> type:
    """An ORM class; `answer_column` names the dataset's reference answers, for the hybrid scheme."""
    from swift.rewards import ORM, AsyncORM

    need_answers(scheme, answer_column)
    rewards = partial(_rewards, scheme, answer_column)

    class BaseReward(AsyncORM):
        async def __call__(self, completions: Sequence[str], **columns: Any) -> list[float | None]:
            items, groups = grouped(_contexts(columns), completions)
            scored = await async_client(url, **settings).score(items)
            return rewards(scored, groups, completions, columns)

    class BlockingBaseReward(ORM):
        def __call__(self, completions: Sequence[str], **columns: Any) -> list[float | None]:
            items, groups = grouped(_contexts(columns), completions)
            scored = client(url, **settings).score(items)
            return rewards(scored, groups, completions, columns)

    return BaseReward if is_async else BlockingBaseReward


def _contexts(columns: dict[str, Any]) -> list[Item]:
    """The turns before the answer, which is each row's last."""
    rows = columns["messages"]
    images = columns.get("images") or [None] * len(rows)  # absent where no row has any
    return [
        {"messages": _turns(turns[:-1], own or ())} for turns, own in zip(rows, images, strict=True)
    ]


def _turns(turns: Sequence[Item], images: Sequence[Any]) -> list[Item]:
    """As ms-swift reads them: `<image>` is a picture's place, and pictures without one stand before all else."""
    if not images:
        return seated(turns)
    parts = [
        tagged(turn["content"]) if isinstance(turn["content"], str) else turn["content"]
        for turn in turns
    ]
    missing = len(images) - sum(part["type"] == "image" for own in parts for part in own)
    first = next(index for index, turn in enumerate(turns) if turn["role"] != "system")
    parts[first] = [{"type": "image"}] * missing + parts[first]
    placed = [turn | {"content": own} for turn, own in zip(turns, parts, strict=True)]
    return seated(placed, images)


def _rewards(
    scheme: Scheme, answer_column: str | None, scored: Any, groups: Any, texts: Any, columns: Any
) -> list[float | None]:
    answers = columns[answer_column] if answer_column else None
    return shaped(scheme, [score for group in scored for score in group], texts, answers, groups)
