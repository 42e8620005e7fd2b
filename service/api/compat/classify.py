"""`POST /classify`: what vLLM's clients send to a reward model, verl's among them.

In `{"model", "input" | "messages", "use_activation"}`, out vLLM's list with `probs: [score]`.
"""

import time
from functools import partial
from typing import Any

from service.api.answers import Served
from service.api.compat.rows import Row, flat, native, read_body, row_or_error
from service.api.endpoint import Asked, Sent, WireFormat
from service.api.items import Rules
from service.api.openapi import format_docs
from service.api.parsing import ParsedRequest, parse_rows
from service.api.schemas import Options, Text, Wire
from service.engine import Scored
from service.errors import InvalidRequest
from service.inputs.templated import whole

EXAMPLE = {
    "messages": [
        {"role": "user", "content": "What is two and two?"},
        {"role": "assistant", "content": "Four."},
    ],
    "use_activation": False,
}


class Classification(Wire):
    model: Text | None = None
    input: Text | list[Text] | None = None
    messages: list[dict[str, Any]] | None = None
    use_activation: bool | None = None
    user: Text | None = None  # vLLM takes it and does nothing with it


def read_classification(sent: Sent, rules: Rules) -> Asked:
    """
    Raises:
        InvalidRequest: the request as a whole is malformed.
    """
    body = read_body(sent, Classification)
    # vLLM's own default for a model of one label.
    transform = "none" if body.use_activation is False else "sigmoid"
    options = Options(model=body.model, transform=transform)
    name, rows = _rows(body)
    parsed = parse_rows(rows, name, rules, options)
    return Asked(parsed, partial(_answer, parsed))


def _rows(body: Classification) -> tuple[str, list[Row]]:
    if (body.input is None) == (body.messages is None):
        raise InvalidRequest("exactly one of input and messages is needed")
    if body.messages is not None:
        return "", [{"messages": body.messages}]
    texts = [body.input] if isinstance(body.input, str) else body.input or []
    return "input", [row_or_error(partial(_row, text)) for text in texts]


def _row(text: str) -> dict[str, Any]:
    return native(whole(text), [])


def _answer(parsed: ParsedRequest, scored: Scored, served: Served) -> dict[str, Any]:
    tokens = scored.usage.text_tokens + scored.usage.image_tokens
    return {
        "id": f"classify-{served.request_id}",
        "object": "list",
        "created": int(time.time()),
        "model": served.info.name,
        "data": [
            {"index": i, "label": "LABEL_0", "probs": [score], "num_classes": 1}
            for i, score in enumerate(flat(parsed, scored))
        ],
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens, "completion_tokens": 0},
    }


CLASSIFY = WireFormat(
    ("/classify",),
    read_classification,
    format_docs("classify", "Scores in vLLM's classification format", EXAMPLE),
)
