"""Answers that only look like one: each has to be told from the right one."""

import math
from typing import Any

from tests.client.fault_proxy import Fault, edit, edit_json


def _cut(body: dict[str, Any]) -> None:
    body["rewards"] = body["rewards"][:-1]


def _longer(body: dict[str, Any]) -> None:
    body["rewards"].append(0.5)


def _shorter_group(body: dict[str, Any]) -> None:
    next(row for row in body["rewards"] if isinstance(row, list) and len(row) > 1).pop()


def _flat(body: dict[str, Any]) -> None:
    body["rewards"] = [row[0] if isinstance(row, list) else row for row in body["rewards"]]


def _other_ids(body: dict[str, Any]) -> None:
    body["ids"] = body["ids"][::-1]


def _put(value: Any) -> Fault:
    """In the place of a reward."""

    def change(body: dict[str, Any]) -> None:
        at = next(i for i, row in enumerate(body["rewards"]) if not isinstance(row, list))
        body["rewards"][at] = value

    return edit_json(change)


def _numbers_with_errors(body: dict[str, Any]) -> None:
    body["errors"] = [
        {"index": i, "response": r, "code": "model_failure", "message": "m"}
        for i, row in enumerate(body["rewards"])
        for r in range(len(row) if isinstance(row, list) else 1)
    ]


garbage = edit(lambda reply: reply.with_body(b"<html>captive portal</html>"))
WRONG: dict[str, Fault] = {
    "garbage": garbage,
    "truncated JSON": edit(lambda reply: reply.with_body(reply.body[:-30])),
    "a list": edit(lambda reply: reply.with_body(b"[0.5]")),
    "a reward too few": edit_json(_cut),
    "a reward too many": edit_json(_longer),
    "a group too short": edit_json(_shorter_group),
    "groups as numbers": edit_json(_flat),
    "NaN": _put(math.nan),
    "infinity": _put(math.inf),
    "a null that no error explains": _put(None),
    "a number as text": _put("0.5"),
    "true": _put(True),
    "the answer to something else": edit_json(_other_ids),
    "numbers in the place of errors": edit_json(_numbers_with_errors),
    "header and body of two servers": edit(
        lambda reply: reply.with_header("x-model-fingerprint", "sha256:other")
    ),
    "header and body of two chips": edit(
        lambda reply: reply.with_header("x-model-numerics", "of another chip")
    ),
}
