"""`POST /classify`: what vLLM's clients send to a reward model, verl's among them.

In `{"model", "input" | "messages", "use_activation"}`, out vLLM's list with `probs: [score]`.
"""

import time
from functools import partial
from typing import Annotated, Any

from pydantic import Field, Tag

from service.api.answers import Served
from service.api.compat.rows import flat, native, read_body, templated_text
from service.api.endpoint import Asked, Sent, WireFormat
from service.api.items import Rules
from service.api.openapi import format_docs
from service.api.parsing import ParsedRequest, parse_rows
from service.api.schemas import LIST, TEXT, Options, Text, Wire, by_kind
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
    input: (
        Annotated[
            Annotated[Text, Tag(TEXT)] | Annotated[list[Text], Field(fail_fast=True), Tag(LIST)],
            by_kind(LIST),
        ]
        | None
    ) = None
    messages: list[Any] | None = None
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
    if (body.input is None) == (body.messages is None):
        raise InvalidRequest("exactly one of input and messages is needed")
    if body.input is None:
        parsed = parse_rows([body.messages], _chat, "", rules, options)
    else:
        texts = [body.input] if isinstance(body.input, str) else body.input
        parsed = parse_rows(texts, partial(_row, rules), "input", rules, options)
    return Asked(parsed, partial(_answer, parsed))


def _chat(messages: list[Any] | None) -> dict[str, Any]:
    return {"messages": messages}


def _row(rules: Rules, text: str) -> dict[str, Any]:
    return native(whole(templated_text(text, rules.max_text_chars)), [])


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
