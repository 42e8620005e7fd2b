"""`POST /reward`: slime's `--rm-type remote_rm`.

In `{"prompt", "response", "label"}`, out the reward as a bare number: the whole answer is what slime takes for it.
"""

from functools import partial
from typing import Any

from service.api.answers import Served
from service.api.compat.chat import Messages, chat_of, label_pictures, messages_in
from service.api.compat.rows import flat, native, read_body, row_or_error
from service.api.endpoint import Asked, Sent, WireFormat
from service.api.items import Rules
from service.api.openapi import format_docs
from service.api.parsing import ParsedRequest, parse_rows
from service.api.schemas import Text, Wire
from service.engine import Scored
from service.inputs.templated import answer_of, continued

EXAMPLE = {"prompt": "What is two and two?", "response": "Four.", "label": "4"}


class Sample(Wire):
    prompt: Text | Messages
    response: Text
    label: Any = None


def read_sample(sent: Sent, rules: Rules) -> Asked:
    """
    Raises:
        InvalidRequest: the request as a whole is malformed.
    """
    sample = read_body(sent, Sample)
    pictures = label_pictures(sample.label, sent.query.get("image_from"))
    parsed = parse_rows([row_or_error(partial(_row, sample, pictures))], "", rules)
    return Asked(parsed, partial(_answer, parsed))


def _row(sample: Sample, pictures: list[Any]) -> dict[str, Any]:
    prompt = sample.prompt
    messages = messages_in(prompt) if isinstance(prompt, str) else prompt
    if messages is None:
        return native(continued(str(prompt), sample.response), pictures)
    chat, own = chat_of(messages, answer_of(sample.response))
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
