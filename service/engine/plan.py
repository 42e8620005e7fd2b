"""What preparing a request takes: its distinct pictures, and which items wait for which of them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from service.core import Item, Picture
from service.engine.tokenising import RESPONSES_AT_ONCE
from service.errors import BadItem, InvalidRequest

Entry = tuple[int, Item]  # its place in the request


@dataclass(frozen=True, slots=True)
class Bucket:
    """Items that are ready to be encoded at the same moment."""

    pictures: tuple[Picture, ...]
    entries: list[Entry] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Plan:
    items: Sequence[Item | BadItem]
    pictures: list[Picture]  # distinct ones
    buckets: list[Bucket]


def plan_of(items: Sequence[Item | BadItem], max_images: int) -> Plan:
    """Hashes every picture's source as it came: off the event loop, unless there is little of it.

    Raises:
        InvalidRequest: too_many_images.
    """
    buckets: dict[tuple[Picture, ...], Bucket] = {}
    for i, item in enumerate(items):
        if isinstance(item, Item):
            wanted = tuple(dict.fromkeys(pictures_of(item)))
            buckets.setdefault(wanted, Bucket(wanted)).entries.append((i, item))
    distinct = list(dict.fromkeys(p for wanted in buckets for p in wanted))
    if len(distinct) > max_images:
        message = f"{len(distinct)} distinct pictures exceed {max_images} a request"
        raise InvalidRequest(message, code="too_many_images")
    cut = [small for bucket in buckets.values() for small in _cut(bucket)]
    return Plan(items, distinct, cut)


def pictures_of(item: Item) -> Iterator[Picture]:
    return (part for turn in item.turns for part in turn.parts if isinstance(part, Picture))


def _cut(bucket: Bucket) -> Iterator[Bucket]:
    """As much as is tokenised at once."""
    part, size = Bucket(bucket.pictures), 0
    for entry in bucket.entries:
        part.entries.append(entry)
        size += len(entry[1].responses)
        if size >= RESPONSES_AT_ONCE:
            yield part
            part, size = Bucket(bucket.pictures), 0
    if part.entries:
        yield part
