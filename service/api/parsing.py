"""A parsed body to core items and options; every fault is named by the field it stands in."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from service.api.items import ItemBuilder, Rules, joined
from service.api.schemas import ITEM_KEYS, OPTION_KEYS, RESERVED, Options, ScoreItem
from service.core import Item
from service.errors import InvalidRequest, ServiceError


@dataclass(frozen=True, slots=True)
class ParsedRequest:
    options: Options
    items: list[Item | ServiceError]
    ids: list[str | None]
    grouped: list[bool]  # asked with `responses`: the answer is a list
    short: bool  # the body was itself one item


def parse_request(body: Any, rules: Rules) -> ParsedRequest:
    """
    Raises:
        InvalidRequest: the request as a whole is malformed. A bad item stands as its error in `items`.
    """
    if not isinstance(body, dict):
        raise InvalidRequest("the body must be a JSON object")
    body = {key: value for key, value in body.items() if value is not None}
    short = "items" not in body
    options = _options({k: v for k, v in body.items() if k in OPTION_KEYS})
    rest = {k: v for k, v in body.items() if k not in OPTION_KEYS and k != "items"}
    if short:
        raw: Any = [rest]
    else:
        raw = body["items"]
        _check_keys(rest, frozenset(), "")
    if not isinstance(raw, list) or not raw:
        raise InvalidRequest("items must be a list of at least one item", param="items")
    parsed = [
        _item(entry, "" if short else f"items[{i}]", options, rules) for i, entry in enumerate(raw)
    ]
    return ParsedRequest(
        options,
        [item for item, _ in parsed],
        [wire.id if wire else None for _, wire in parsed],
        [_is_group(entry) for entry in raw],
        short,
    )


def _options(values: dict[str, Any]) -> Options:
    table = values.get("image_table")
    if isinstance(table, dict):
        for name, source in table.items():
            _check_reserved_source(source, f"image_table.{name}")
    try:
        return Options.model_validate(values)
    except ValidationError as error:
        raise _fault(error, "") from None


def _is_group(entry: Any) -> bool:
    return isinstance(entry, dict) and isinstance(entry.get("responses"), list)


def _item(
    entry: Any, param: str, options: Options, rules: Rules
) -> tuple[Item | ServiceError, ScoreItem | None]:
    try:
        wire = _validated(entry, param)
    except ServiceError as error:
        return error, None
    try:
        return ItemBuilder(wire, param, options, rules).item(), wire
    except ServiceError as error:
        return error, wire


def _validated(entry: Any, param: str) -> ScoreItem:
    if not isinstance(entry, dict):
        raise InvalidRequest("an item must be a JSON object", param=param or None)
    present = {key: value for key, value in entry.items() if value is not None}
    _check_keys(present, ITEM_KEYS, param)
    _check_reserved(present, param)
    try:
        return ScoreItem.model_validate(present)
    except ValidationError as error:
        raise _fault(error, param) from None


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


def _fault(error: ValidationError, param: str) -> InvalidRequest:
    """The first schema fault, with its path; the offending value stays out of the message."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    where = param
    for step in first["loc"]:
        if isinstance(step, int):
            where += f"[{step}]"
        elif not step.startswith(
            ("str", "ImageRef", "constrained", "list[", "literal", "Sigmoid", "function")
        ):
            where = joined(where, step)
    message = "unknown key" if first["type"] == "extra_forbidden" else first["msg"].lower()
    return InvalidRequest(message, param=where or None)
