"""A parsed body to core items and options; every fault is named by the field it stands in."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from service.api.items import Context, ItemBuilder, Rules, joined
from service.api.schemas import ITEM_KEYS, OPTION_KEYS, RESERVED, Options, ScoreItem
from service.core import Item
from service.errors import BadItem, InvalidRequest, ServiceError

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
        body: the JSON.
        rules: of the server and its checkpoint.
        parts: pictures that came beside the JSON, by the name that items use.

    Raises:
        InvalidRequest: the request as a whole is malformed. A bad item stands as its error in `items`.
    """
    if not isinstance(body, dict):
        raise InvalidRequest("the body must be a JSON object")
    body = {key: value for key, value in body.items() if value is not None}
    short = "items" not in body
    options = _options({k: v for k, v in body.items() if k in OPTION_KEYS})
    table: dict[str, str | bytes] = {**options.image_table, **(parts or {})}
    if len(table) < len(options.image_table) + len(parts or {}):
        raise InvalidRequest("a picture's name stands twice", param="image_table")
    rest = {k: v for k, v in body.items() if k not in OPTION_KEYS and k != "items"}
    if short:
        raw: Any = [rest]
    else:
        raw = body["items"]
        _check_keys(rest, frozenset(), "")
    if not isinstance(raw, list) or not raw:
        raise InvalidRequest("items must be a list of at least one item", param="items")
    _check_number(raw, rules.max_responses)
    context = Context(rules, table, truncate_prompt=options.truncate == "prompt")
    return ParsedRequest(
        options,
        [_item(x, "" if short else f"items[{i}]", context) for i, x in enumerate(raw)],
        [_id(x) for x in raw],
        [_is_group(x) for x in raw],
        short,
    )


def parse_rows(
    rows: Sequence[dict[str, Any] | ServiceError], name: str, rules: Rules, options: Options = RAW
) -> ParsedRequest:
    """Rows of another format, already put as native items or found bad.

    Args:
        rows: each one response.
        name: what the format calls them, for errors.
        rules: of the server and its checkpoint.
        options: of the request.

    Raises:
        InvalidRequest: too_many_items.
    """
    _check_number(list(rows), rules.max_responses)
    context = Context(rules, {})
    items = [_row(row, f"{name}[{i}]" if name else "", context) for i, row in enumerate(rows)]
    return ParsedRequest(options, items, [None] * len(items), [False] * len(items), False)


def _row(row: dict[str, Any] | ServiceError, param: str, context: Context) -> Item | BadItem:
    if isinstance(row, ServiceError):
        return BadItem(ServiceError(row.message, code=row.code, param=param or row.param))
    return _item(row, param, context)


def _options(values: dict[str, Any]) -> Options:
    table = values.get("image_table")
    if isinstance(table, dict):
        for name, source in table.items():
            _check_reserved_source(source, joined("image_table", name))
    try:
        return Options.model_validate(values)
    except ValidationError as error:
        raise fault(error, values, "") from None


def _is_group(entry: Any) -> bool:
    return isinstance(entry, dict) and isinstance(entry.get("responses"), list)


def _id(entry: Any) -> str | None:
    name = entry.get("id") if isinstance(entry, dict) else None
    return name if isinstance(name, str) else None


def _check_number(items: list[Any], limit: int) -> None:
    """Before any item is looked at: judging millions of them takes minutes."""
    count = len(items)
    if count <= limit:
        count = sum(len(x["responses"]) if _is_group(x) else 1 for x in items)
    if count > limit:
        message = f"{count} responses exceed {limit} a request"
        raise InvalidRequest(message, code="too_many_items")


def _item(entry: Any, param: str, context: Context) -> Item | BadItem:
    try:
        return ItemBuilder(_validated(entry, param), param, context).item()
    except ServiceError as error:
        count = len(entry["responses"]) if _is_group(entry) else 1
        return BadItem(error, max(1, count))


def _validated(entry: Any, param: str) -> ScoreItem:
    if not isinstance(entry, dict):
        raise InvalidRequest("an item must be a JSON object", param=param or None)
    present = _without_nulls(entry)
    _check_keys(present, ITEM_KEYS, param)
    _check_reserved(present, param)
    try:
        return ScoreItem.model_validate(present)
    except ValidationError as error:
        raise fault(error, present, param) from None


def _check_keys(values: Mapping[str, Any], known: frozenset[str], param: str) -> None:
    for key in values:
        if key not in known:
            where = joined(param, key)
            if key in RESERVED:
                raise InvalidRequest("not built yet", code="not_supported", param=where)
            raise InvalidRequest("unknown key", param=where)


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


def fault(error: ValidationError, value: Any, param: str) -> InvalidRequest:
    """The most telling schema fault, with its path; the offending value stays out of the message."""
    faults = error.errors(include_url=False, include_input=False, include_context=False)
    # A union complains once for every member: an unknown key, else the deepest path, says most.
    worst = max(faults, key=lambda f: (f["type"] == "extra_forbidden", len(_path(f["loc"], value))))
    message = _OWN_WORDS.get(worst["type"]) or worst["msg"].lower()
    return InvalidRequest(message, param=joined(param, _path(worst["loc"], value)) or None)


# Where the schema's own words would repeat what was sent, or say less.
_OWN_WORDS = {
    "extra_forbidden": "unknown key",
    "union_tag_invalid": "unknown type of part",
    "union_tag_not_found": "a part needs a type",
}


def _path(steps: Sequence[int | str], value: Any) -> str:
    """The schema's path without the union members it names: only what can be followed in the input."""
    path = ""
    after_index = False
    for step in steps:
        tag = after_index and isinstance(value, dict) and value.get("type") == step
        after_index = isinstance(step, int)
        if isinstance(step, int) and isinstance(value, list):
            path, value = f"{path}[{step}]", value[step]
        elif isinstance(value, dict) and not tag and (step in value or step == steps[-1]):
            path, value = joined(path, str(step)), value.get(step)
    return path


def _without_nulls(value: Any, depth: int = MAX_DEPTH) -> Any:
    """Null-valued keys count as absent, as deep as the schema goes."""
    if isinstance(value, dict) and depth:
        return {k: _without_nulls(v, depth - 1) for k, v in value.items() if v is not None}
    if isinstance(value, list) and depth:
        return [_without_nulls(v, depth - 1) for v in value]
    return value
