"""A parsed body to core items and options; every fault is named by the field it stands in."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import ValidationError

from service.api.faults import fault
from service.api.items import Context, ItemBuilder, Rules, check_sizes, joined
from service.api.schemas import ITEM_KEYS, OPTION_KEYS, RESERVED, Options, ScoreItem
from service.core import Item
from service.errors import BadItem, InvalidRequest, ServiceError

T = TypeVar("T")
RAW = Options()
MAX_DEPTH = 8  # of an item: messages → content → part → image_url → url, and room to spare


@dataclass(frozen=True, slots=True)
class ParsedRequest:
    options: Options
    items: list[Item | BadItem]
    ids: list[str | None]
    grouped: list[bool]  # asked with `responses`: the answer is a list
    short: bool  # the body was itself one item


def parse_request(
    body: Any, rules: Rules, parts: Mapping[str, bytes] | None = None
) -> ParsedRequest:
    """
    Args:
        body: the JSON; it is used up, so that its memory is free when the items are made.
        rules: of the server and its checkpoint.
        parts: pictures that came beside the JSON, by the name that items use.

    Raises:
        InvalidRequest: the request as a whole is malformed. A bad item stands as its error in `items`.
    """
    if not isinstance(body, dict):
        raise InvalidRequest("the body must be a JSON object")
    body = {key: value for key, value in body.items() if value is not None}
    short = "items" not in body
    options = _options({k: v for k, v in body.items() if k in OPTION_KEYS}, rules.max_images)
    table: dict[str, str | bytes] = {**options.image_table, **(parts or {})}
    if len(table) < len(options.image_table) + len(parts or {}):
        raise InvalidRequest("a picture's name stands twice", param="image_table")
    rest = {k: v for k, v in body.items() if k not in OPTION_KEYS and k != "items"}
    if short:
        raw: Any = [rest]
    else:
        raw = body["items"]
        check_keys(rest, frozenset())
    if not isinstance(raw, list) or not raw:
        raise InvalidRequest("items must be a list of at least one item", param="items")
    check_number(_responses(raw, rules.max_responses), rules.max_responses)
    context = Context(rules, table, truncate_prompt=options.truncate == "prompt")
    ids, grouped = [_id(x) for x in raw], [_is_group(x) for x in raw]
    items = list(_items(raw, "" if short else "items", context))
    return ParsedRequest(options, items, ids, grouped, short)


def parse_rows(
    rows: Sequence[T],
    native: Callable[[T], dict[str, Any]],
    name: str,
    rules: Rules,
    options: Options = RAW,
) -> ParsedRequest:
    """Rows of another format, each one response. They are counted before any is looked at.

    Args:
        rows: as the format has them.
        native: one of them as an item of `/score`; raises ServiceError for a bad one, which does not hide the others'.
        name: what the format calls them, for errors.
        rules: of the server and its checkpoint.
        options: of the request.

    Raises:
        InvalidRequest: too_many_items.
    """
    check_number(len(rows), rules.max_responses)
    context = Context(rules, {})
    items = [
        _row(row, native, f"{name}[{i}]" if name else "", context) for i, row in enumerate(rows)
    ]
    return ParsedRequest(options, items, [None] * len(items), [False] * len(items), False)


def check_number(count: int, limit: int) -> None:
    """
    Raises:
        InvalidRequest: too_many_items.
    """
    if count > limit:
        message = f"{count} responses exceed {limit} a request (max_responses)"
        raise InvalidRequest(message, code="too_many_items")


def check_keys(values: Mapping[str, Any], known: AbstractSet[str], param: str = "") -> None:
    """
    Raises:
        InvalidRequest: a key that is not known, or not built yet.
    """
    for key in values:
        if key not in known:
            where = joined(param, key)
            if key in RESERVED:
                raise InvalidRequest("not built yet", code="not_supported", param=where)
            raise InvalidRequest("unknown key", param=where)


def _row(
    row: T, native: Callable[[T], dict[str, Any]], param: str, context: Context
) -> Item | BadItem:
    try:
        item = native(row)
    except ServiceError as error:
        return _bad(ServiceError(error.message, code=error.code, param=param or error.param))
    return _item(item, param, context)


def _options(values: dict[str, Any], max_images: int) -> Options:
    table = values.get("image_table")
    if isinstance(table, dict):
        _check_table(table, max_images)
    _drop_nulls(values.get("transform"))
    try:
        return Options.model_validate(values)
    except ValidationError as error:
        raise fault(error, values, "") from None


def _check_table(table: Mapping[str, Any], max_images: int) -> None:
    if len(table) > max_images:
        message = f"{len(table)} pictures exceed {max_images} a request (max_images)"
        raise InvalidRequest(message, code="too_many_images", param="image_table")
    for name, source in table.items():
        _check_reserved_source(source, joined("image_table", name))
        if not isinstance(source, str):
            raise InvalidRequest("must be a text", param=joined("image_table", name))


def _is_group(entry: Any) -> bool:
    return isinstance(entry, dict) and isinstance(entry.get("responses"), list)


def _id(entry: Any) -> str | None:
    name = entry.get("id") if isinstance(entry, dict) else None
    return name if isinstance(name, str) else None


def _responses(items: list[Any], limit: int) -> int:
    """Of all items; beyond the limit, of as many as items."""
    count = len(items)
    return (
        count if count > limit else sum(len(x["responses"]) if _is_group(x) else 1 for x in items)
    )


def _items(raw: list[Any], name: str, context: Context) -> Iterator[Item | BadItem]:
    """The JSON of each is let go when it has been read."""
    for i in range(len(raw)):
        entry, raw[i] = raw[i], None
        yield _item(entry, f"{name}[{i}]" if name else "", context)


def _item(entry: Any, param: str, context: Context) -> Item | BadItem:
    try:
        return ItemBuilder(_validated(entry, param, context.rules), param, context).item()
    except ServiceError as error:
        return _bad(error, len(entry["responses"]) if _is_group(entry) else 1)


def _bad(error: ServiceError, responses: int = 1) -> BadItem:
    """Without what the error was raised from: its frames and the schema's error hold the item's whole JSON."""
    error.__context__ = None
    return BadItem(error.with_traceback(None), max(1, responses))


def _validated(entry: Any, param: str, rules: Rules) -> ScoreItem:
    if not isinstance(entry, dict):
        raise InvalidRequest("an item must be a JSON object", param=param or None)
    present = {key: value for key, value in entry.items() if value is not None}
    check_keys(present, ITEM_KEYS, param)
    check_sizes(present, rules, param)
    _drop_nulls(present)
    _check_reserved(present, param)
    try:
        return ScoreItem.model_validate(present)
    except ValidationError as error:
        raise fault(error, present, param) from None


def _check_reserved(item: Mapping[str, Any], param: str) -> None:
    """Forms the contract keeps for later."""
    for key in ("response", "responses"):
        value = item.get(key)
        values = value if key == "responses" and isinstance(value, list) else [value]
        if any(isinstance(v, list) for v in values):
            message = "a response of several turns is not built yet"
            raise InvalidRequest(message, code="not_supported", param=joined(param, key))
    _check_reserved_source(item.get("image"), joined(param, "image"))
    images = item.get("images")
    for i, source in enumerate(images if isinstance(images, list) else []):
        _check_reserved_source(source, joined(param, f"images[{i}]"))
    messages = item.get("messages")
    for i, message in enumerate(messages if isinstance(messages, list) else []):
        content = message.get("content") if isinstance(message, dict) else None
        for j, part in enumerate(content if isinstance(content, list) else []):
            where = joined(param, f"messages[{i}].content[{j}]")
            if isinstance(part, dict) and part.get("type") == "video":
                raise InvalidRequest("videos are not built yet", code="not_supported", param=where)
            if isinstance(part, dict):
                _check_reserved_source(part.get("image"), where)


def _check_reserved_source(source: Any, param: str) -> None:
    if isinstance(source, dict) and "sha256" in source:
        message = "pictures by sha256 are not built yet"
        raise InvalidRequest(message, code="not_supported", param=param)


def _drop_nulls(value: Any, depth: int = MAX_DEPTH) -> None:
    """Null-valued keys count as absent, as deep as the schema goes. In place: a copy would double the memory."""
    if not depth:
        return
    if isinstance(value, dict):
        for key in [key for key, entry in value.items() if entry is None]:
            del value[key]
        value = value.values()
    elif not isinstance(value, list):
        return
    for entry in value:
        _drop_nulls(entry, depth - 1)
