"""What preparing a request takes: its distinct pictures, and which parts of it wait for which of them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from service.core import Item, Picture
from service.engine.tokenising import CHARS_AT_ONCE, RESPONSES_AT_ONCE, chars_of
from service.errors import BadItem, InvalidRequest

# A prompt that is cut to fit is tokenised for each part of its item: so many responses go together then.
CUT_RESPONSES_AT_ONCE = 2048


@dataclass(frozen=True, slots=True)
class Part:
    """Consecutive responses of one item: what is encoded, and joins the line, as one."""

    index: int  # of the item in the request
    first: int  # response
    item: Item  # with these responses alone
    whole: bool = True  # these are all the item's responses

    @property
    def place(self) -> "Place":
        return Place(self.index, self.first, len(self.item.responses))


@dataclass(frozen=True, slots=True)
class Place:
    """Where a part's outcomes belong."""

    item: int
    first: int
    responses: int


@dataclass(frozen=True, slots=True)
class Bucket:
    """Parts that are ready to be encoded at the same moment."""

    pictures: tuple[Picture, ...]
    parts: list[Part] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Plan:
    pictures: list[Picture]  # distinct ones
    buckets: list[Bucket]
    bad: list[tuple[Place, BadItem]]

    def places(self) -> list[Place]:
        """All of them, in order."""
        good = (part.place for bucket in self.buckets for part in bucket.parts)
        places = [*good, *(place for place, _ in self.bad)]
        return sorted(places, key=lambda place: (place.item, place.first))


def plan_of(items: Sequence[Item | BadItem], max_images: int) -> Plan:
    """Hashes every picture's source as it came: off the event loop, unless there is little of it.

    Raises:
        InvalidRequest: too_many_images.
    """
    buckets: dict[tuple[Picture, ...], Bucket] = {}
    bad = []
    for i, item in enumerate(items):
        if isinstance(item, Item):
            wanted = tuple(dict.fromkeys(pictures_of(item)))
            buckets.setdefault(wanted, Bucket(wanted)).parts.extend(_parts(i, item))
        else:
            bad.append((Place(i, 0, item.responses), item))
    distinct = list(dict.fromkeys(p for wanted in buckets for p in wanted))
    if len(distinct) > max_images:
        message = f"{len(distinct)} distinct pictures exceed {max_images} a request"
        raise InvalidRequest(message, code="too_many_images")
    cut = [small for bucket in buckets.values() for small in _cut(bucket)]
    return Plan(distinct, cut, bad)


def pictures_of(item: Item) -> Iterator[Picture]:
    return (part for turn in item.turns for part in turn.parts if isinstance(part, Picture))


def _parts(index: int, item: Item) -> Iterator[Part]:
    """The item, or, where it is more than a batch, its responses some at a time."""
    most = CUT_RESPONSES_AT_ONCE if item.truncate_prompt else RESPONSES_AT_ONCE
    if len(item.responses) == 1 or (len(item.responses) <= most and _fits(item)):
        yield Part(index, 0, item)
        return
    first = chars = 0
    for r, response in enumerate(item.responses):
        if r > first and (r - first >= most or chars + len(response) > CHARS_AT_ONCE):
            yield Part(index, first, replace(item, responses=item.responses[first:r]), whole=False)
            first, chars = r, 0
        chars += len(response)
    yield Part(index, first, replace(item, responses=item.responses[first:]), whole=False)


def _fits(item: Item) -> bool:
    return sum(map(len, item.responses)) <= CHARS_AT_ONCE


def _cut(bucket: Bucket) -> Iterator[Bucket]:
    """As much as is tokenised at once."""
    some, responses, chars = Bucket(bucket.pictures), 0, 0
    for part in bucket.parts:
        some.parts.append(part)
        responses += len(part.item.responses)
        chars += chars_of(part.item)
        if responses >= RESPONSES_AT_ONCE or chars >= CHARS_AT_ONCE:
            yield some
            some, responses, chars = Bucket(bucket.pictures), 0, 0
    if some.parts:
        yield some
