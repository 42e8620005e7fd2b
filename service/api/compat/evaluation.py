"""`POST /v1/score/evaluation`: LLaMA-Factory's `reward_model_type: api`.

In `{"model", "messages": [templated text, …]}`, out `{"id", "object", "model", "scores"}`. Its client checks no
status, waits for ever, and sends the model name "model", which is therefore not read.
"""

from functools import partial
from typing import Any

from pydantic import Field

from service.api.answers import Served
from service.api.compat.rows import flat, native, read_body, templated_text
from service.api.endpoint import Asked, Sent, WireFormat
from service.api.items import Rules
from service.api.openapi import format_docs
from service.api.parsing import ParsedRequest, parse_rows
from service.api.schemas import Text, Wire
from service.engine import Scored
from service.inputs.templated import whole

EXAMPLE = {
    "model": "model",
    "messages": [
        "<|im_start|>user\nWhat is two and two?<|im_end|>\n<|im_start|>assistant\nFour.<|im_end|>\n"
    ],
}


class Evaluation(Wire):
    model: Text | None = None
    messages: list[Text] = Field(fail_fast=True)


def read_evaluation(sent: Sent, rules: Rules) -> Asked:
    """
    Raises:
        InvalidRequest: the request as a whole is malformed.
    """
    texts = read_body(sent, Evaluation).messages
    parsed = parse_rows(texts, partial(_row, rules), "messages", rules)
    return Asked(parsed, partial(_answer, parsed))


def _row(rules: Rules, text: str) -> dict[str, Any]:
    return native(whole(templated_text(text, rules.max_text_chars)), [])


def _answer(parsed: ParsedRequest, scored: Scored, served: Served) -> dict[str, Any]:
    return {
        "id": served.request_id,
        "object": "score.evaluation",
        "model": served.info.name,
        "scores": flat(parsed, scored),
    }


EVALUATION = WireFormat(
    ("/v1/score/evaluation",),
    read_evaluation,
    format_docs("score_evaluation", "Scores for LLaMA-Factory", EXAMPLE),
)
