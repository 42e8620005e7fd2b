"""Items to the bodies that carry them: pictures named, siblings adjacent, each body within the limits."""

import base64
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from basereward_client.errors import BadRequest
from basereward_client.pictures import MEMBERS, Pictures

LIMITS = (512, 32 * 2**20, 1024)  # responses, bytes and pictures of a body
PART_BYTES = 150  # what a form spends on a part beside its content
ONE_PICTURE = 3  # dimensions; taken as a list, its planes would pass for grey pictures
Sources = Mapping[str, bytes | str]  # the pictures of a call by ref


@dataclass(frozen=True, slots=True)
class Planned:
    index: int  # among the caller's
    id: str  # as the answer has to echo it
    responses: int | None  # None: answered by one number, not by a list
    body: bytes  # JSON
    context: str  # equal for siblings: the same prompt and pictures
    refs: frozenset[str]


def planned(index: int, item: Mapping[str, Any], pictures: Pictures, call: str) -> Planned:
    """
    Raises:
        InvalidPicture, BadRequest: of this item.
    """
    refs: list[str] = []

    def named(picture: Any) -> dict[str, str]:
        refs.append(pictures.ref(picture))
        return {"ref": refs[-1]}

    try:
        given = {key: value for key, value in item.items() if value is not None}
        # The caller's own id need not be another in another call: it would not tell the answers apart.
        id_ = f"{call}-{index}"
        wire = {k: _wire(k, v, named) for k, v in given.items()} | {"id": id_}
        context = {k: v for k, v in wire.items() if k not in ("id", "response", "responses")}
        if "image" in context:
            context["images"] = [context.pop("image")]
        if wire.get("messages") and wire["messages"][-1].get("role") == "assistant":
            context["messages"] = wire["messages"][:-1]  # the last turn is the response
        count = len(wire["responses"]) if isinstance(wire.get("responses"), list) else None
        if count == 0:
            raise ValueError("responses is empty")
        key = hashlib.sha256(_json(context)).hexdigest()[:32]
        return Planned(index, id_, count, _json(wire), key, frozenset(refs))
    except (TypeError, ValueError, AttributeError) as error:  # lone surrogates and NaN too
        raise BadRequest(f"items[{index}] is no item: {error!r}", code="invalid_item") from error


def _wire(key: str, value: Any, named: Callable[[Any], Any]) -> Any:
    """A value without nulls, as JSON knows it, its pictures named."""
    if key == "image":
        return named(value)
    if isinstance(value, Mapping):
        is_picture = value.get("type") in ("image", "image_url")
        own = {"type": "image", "image": named(value)} if is_picture else {}
        rest = {k: v for k, v in value.items() if v is not None and not (own and k in MEMBERS)}
        return {k: _wire("", v, named) for k, v in rest.items()} | own
    if key == "images" and getattr(value, "ndim", 1) == ONE_PICTURE:
        raise ValueError("images is one array, not a list of pictures")
    if isinstance(value, Iterable) and not isinstance(value, str | bytes):  # arrays too
        return [named(v) if key == "images" else _wire("", v, named) for v in value]
    return value


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


class Chunk:
    """The items of one body."""

    def __init__(self, sources: Sources) -> None:
        self.items: list[Planned] = []
        self._sources = sources
        self._refs: set[str] = set()
        self._used = [0, 0, 0]

    def take(self, items: Sequence[Planned]) -> bool:
        """Whether they fit; one item alone always does."""
        new = {ref for item in items for ref in item.refs} - self._refs
        size = sum(len(item.body) for item in items) + sum(len(self._sources[ref]) for ref in new)
        cost = sum(item.responses or 1 for item in items), size, len(new)
        used = [u + c for u, c in zip(self._used, cost, strict=True)]
        if (self.items or len(items) > 1) and any(u > m for u, m in zip(used, LIMITS, strict=True)):
            return False
        self.items += items
        self._refs |= new
        self._used = used
        return True

    def body(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """As httpx takes it: a form where that is smaller than base64."""
        pictures = [(ref, self._sources[ref]) for ref in sorted(self._refs)]
        files = {ref: source for ref, source in pictures if isinstance(source, bytes)}
        table = {ref: source for ref, source in pictures if isinstance(source, str)}
        as_form = sum(map(len, files.values())) // 3 > PART_BYTES * (len(files) + 1)
        if not as_form:
            table |= {ref: base64.b64encode(data).decode() for ref, data in files.items()}
        rest = _json({**options, "image_table": table})
        whole = b'{"items":[' + b",".join(item.body for item in self.items) + b"]," + rest[1:]
        return {"files": {"request": (None, whole)} | files} if as_form else {"content": whole}


def chunked(items: Iterable[Planned], sources: Sources) -> list[Chunk]:
    """Siblings share a chunk, unless they alone exceed one."""
    families: dict[str, list[Planned]] = {}
    for item in items:
        families.setdefault(item.context, []).append(item)
    chunks = [Chunk(sources)]

    def place(piece: Sequence[Planned]) -> None:
        if chunks[-1].take(piece):
            return
        if chunks[-1].items:
            chunks.append(Chunk(sources))
            place(piece)
        else:
            for item in piece:
                place([item])

    for family in families.values():
        place(family)
    return [chunk for chunk in chunks if chunk.items]
