"""What every adapter needs beside its trainer's form: its client, and the scheme that makes rewards of scores."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, TypeVar

from basereward_client import AsyncRewardClient, RewardClient, Scheme, exact_match

C = TypeVar("C", RewardClient, AsyncRewardClient)
RAW = Scheme()


def new(kind: type[C], url: str | None, **settings: Any) -> C:
    """A client of these settings, and of the environment's where they say nothing; commas part several URLs."""
    urls = {"base_url": [one.strip() for one in url.split(",")]} if url else {}
    return kind.from_env(**urls, **settings)


@cache
def client(url: str | None = None, **settings: Any) -> RewardClient:
    """The process's one client of these settings."""
    return new(RewardClient, url, **settings)


@cache
def async_client(url: str | None = None, **settings: Any) -> AsyncRewardClient:
    return new(AsyncRewardClient, url, **settings)


def scheme_of(scheme: Scheme | str | Mapping[str, Any]) -> Scheme:
    """A scheme as configuration files can name it: by its kind, or by its fields."""
    if isinstance(scheme, Scheme):
        return scheme
    fields: Mapping[str, Any] = {"kind": scheme} if isinstance(scheme, str) else scheme
    return Scheme(**fields)


def shaped(
    scheme: Scheme,
    scores: Sequence[float | None],
    responses: Sequence[str],
    answers: Sequence[Any] | None,
    groups: Sequence[int] | None = None,
) -> list[float | None]:
    """The rewards of a trainer's rows; without `groups`, of rows that come one by one.

    An answer of None is not known: its row gets the sigmoid in a hybrid scheme.
    """
    matches = None
    if scheme.kind == "hybrid" and answers is not None:
        pairs = zip(responses, answers, strict=True)
        matches = [None if right is None else exact_match(own, str(right)) for own, right in pairs]
    return scheme.rewards(scores, matches=matches, groups=groups)
