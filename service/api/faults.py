"""What a schema finds wrong, in the caller's words: the field by its path, and what it must be."""

from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from service.api.items import joined
from service.api.schemas import LIST, OBJECT, TEXT, UNKNOWN_KEY
from service.errors import InvalidRequest

_TAGS = (TEXT, LIST, OBJECT)
_WORDS = {
    UNKNOWN_KEY: "unknown key",
    "missing": "is missing",
    "string_type": "must be a text",
    "string_too_short": "must not be empty",
    "list_type": "must be a list",
    "dict_type": "must be an object",
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "literal_error": "must be {expected}",
    "greater_than": "must be greater than {gt:g}",
    "greater_than_equal": "must be at least {ge:g}",
    "less_than_equal": "must be at most {le:g}",
    "too_short": "must not be empty",
    "too_long": "must have at most {max_length} elements",
    "union_tag_invalid": "unknown type of part: {expected_tags} are known",
    "union_tag_not_found": "a part needs a type",
}
_EITHER = {
    LIST: "must be a text or a list, of one element too",
    OBJECT: "must be a text or an object",
}


def fault(error: ValidationError, value: Any, param: str) -> InvalidRequest:
    """The first fault of a schema; the offending value stays out of the message.

    Args:
        error: of the validation.
        value: that was validated.
        param: the field it stands in; empty for the body.
    """
    first = error.errors(include_url=False, include_input=False)[0]
    path = _path(first["loc"], value)
    if first["type"] == UNKNOWN_KEY:
        path = joined(path, first["ctx"]["key"])
    where = joined(param, path)
    return InvalidRequest(
        _words(first) if where else "the body must be a JSON object", param=where or None
    )


def _words(error: ErrorDetails) -> str:
    last = error["loc"][-1] if error["loc"] else None
    if last in _EITHER and error["type"] != UNKNOWN_KEY:
        return _EITHER[str(last)]
    words = _WORDS.get(error["type"])
    if words is None:
        return error["msg"]
    return words.format(**error.get("ctx", {})).replace("'", "")


def _path(steps: Sequence[int | str], value: Any) -> str:
    """The schema's path without the union members it names: only what can be followed in the input."""
    path = ""
    after_index = False
    for step in steps:
        part = after_index and isinstance(value, dict) and value.get("type") == step
        after_index = isinstance(step, int) or (after_index and step in _TAGS)
        if isinstance(step, int) and isinstance(value, list):
            path, value = f"{path}[{step}]", value[step]
        elif step in _TAGS or part or not isinstance(value, dict):
            continue
        elif step in value or step == steps[-1]:
            path, value = joined(path, str(step)), value.get(step)
    return path
