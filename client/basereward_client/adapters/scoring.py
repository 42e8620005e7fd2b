"""What every adapter needs beside its trainer's form: its client, and the scheme that makes rewards of scores."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, TypeVar

from basereward_client import AsyncRewardClient, RewardClient, Scheme, exact_match

C = TypeVar("C", RewardClient, AsyncRewardClient)
URL = str | Sequence[str] | None  # several in a list, or with commas
RAW = Scheme()
_KEPT: dict[str, Any] = {}


def new(kind: type[C], url: URL, **settings: Any) -> C:
    """A client of these settings, and of the environment's where they say nothing."""
    listed = url.split(",") if isinstance(url, str) else url
    urls = {"base_url": [one.strip() for one in listed]} if listed else {}
    return kind.from_env(**urls, **settings)


def client(url: URL = None, **settings: Any) -> RewardClient:
    """The process's one client of these settings."""
    return _kept(RewardClient, url, settings)


def async_client(url: URL = None, **settings: Any) -> AsyncRewardClient:
    return _kept(AsyncRewardClient, url, settings)


def _kept(kind: type[C], url: URL, settings: Mapping[str, Any]) -> C:
    key = repr((kind, url, sorted(settings.items())))
    # Another thread may have been quicker.
    kept: C = _KEPT.get(key) or _KEPT.setdefault(key, new(kind, url, **settings))
    return kept


def scheme_of(scheme: Scheme | str | Mapping[str, Any]) -> Scheme:
    """A scheme as configuration files can name it: by its kind, or by its fields."""
    if isinstance(scheme, Scheme):
        return scheme
    fields: Mapping[str, Any] = {"kind": scheme} if isinstance(scheme, str) else scheme
    return Scheme(**fields)


def need_answers(scheme: Scheme, answer_column: str | None) -> None:
    """
    Raises:
        ValueError: the scheme compares with answers, and no column of them is named.
    """
    if scheme.kind == "hybrid" and answer_column is None:
        raise ValueError("the hybrid scheme needs answer_column, the column of reference answers")


def shaped(
    scheme: Scheme,
    scores: Sequence[float | None],
    responses: Sequence[str],
    answers: Sequence[Any] | None,
    groups: Sequence[Hashable] | None = None,
) -> list[float | None]:
    """The rewards of a trainer's rows; without `groups`, of rows that come one by one.

    An answer of None or of no text is not known: its row gets the sigmoid in a hybrid scheme, whatever it says.
    """
    matches = None
    if scheme.kind == "hybrid" and answers is not None:
        pairs = zip(responses, answers, strict=True)
        matches = [_matches(own, answer) for own, answer in pairs]
    return scheme.rewards(scores, matches=matches, groups=groups)


def _matches(response: str, answer: Any) -> bool | None:
    known = answer is not None and str(answer).strip()
    return exact_match(response, str(answer)) if known else None
