"""`POST /reward`: slime's `--rm-type remote_rm`.

In `{"prompt", "response", "label"}`, out the reward as a bare number: the whole answer is what slime takes for it.
"""

from functools import partial
from typing import Annotated, Any

from pydantic import Tag

from service.api.answers import Served
from service.api.compat.chat import chat_of, image_from, label_pictures, messages_in
from service.api.compat.rows import flat, native, read_body, templated_text
from service.api.endpoint import Asked, Sent, WireFormat
from service.api.items import Rules, check_sizes
from service.api.openapi import format_docs
from service.api.parsing import ParsedRequest, parse_rows
from service.api.schemas import LIST, TEXT, Text, Wire, by_kind
from service.api.strict_json import JsonReader
from service.engine import Scored
from service.inputs.templated import answer_of, continued

EXAMPLE = {"prompt": "What is two and two?", "response": "Four.", "label": "4"}


class Sample(Wire):
    prompt: Annotated[Annotated[Text, Tag(TEXT)] | Annotated[list[Any], Tag(LIST)], by_kind(LIST)]
    response: Text
    label: Any = None


def read_sample(sent: Sent, rules: Rules) -> Asked:
    """
    Raises:
        InvalidRequest: the request as a whole is malformed.
    """
    sample = read_body(sent, Sample)
    shown = image_from(sent)
    parsed = parse_rows([sample], partial(_row, rules, sent.json, shown), "", rules)
    return Asked(parsed, partial(_answer, parsed))


def _row(rules: Rules, json: JsonReader, shown: bool, sample: Sample) -> dict[str, Any]:
    prompt, limit = sample.prompt, rules.max_text_chars
    pictures = label_pictures(sample.label, json) if shown else []
    response = templated_text(sample.response, limit, "response")
    messages = messages_in(prompt, json) if isinstance(prompt, str) else prompt
    if messages is None:
        return native(continued(templated_text(str(prompt), limit, "prompt"), response), pictures)
    check_sizes({"messages": messages}, rules, "")
    chat, own = chat_of(messages, answer_of(response))
    return native(chat, [*own, *pictures])


def _answer(parsed: ParsedRequest, scored: Scored, _: Served) -> float:
    (reward,) = flat(parsed, scored)
    return reward


REWARD = WireFormat(
    ("/reward",),
    read_sample,
    format_docs("reward", "One reward for slime", EXAMPLE),
    frozenset({"image_from"}),
)
