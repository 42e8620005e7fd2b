"""`POST /get_reward`: OpenRLHF, LMM-R1, OpenRLHF-M, R1-Reward.

In `{"query", "prompts", "labels"}`, out `{"rewards", "scores"}`. OpenRLHF-M makes a tensor of every key of the
answer, so there are numeric lists only; whatever else there is to say stands in the headers.
"""

from functools import partial
from typing import Any

from pydantic import Field

from service.api.answers import Served
from service.api.compat.chat import answered, image_from, label_pictures, messages_in
from service.api.compat.rows import flat, native, read_body, templated_text
from service.api.endpoint import Asked, Sent, WireFormat
from service.api.items import Rules, check_sizes
from service.api.openapi import format_docs
from service.api.parsing import ParsedRequest, check_number, parse_rows
from service.api.schemas import Text, Wire
from service.api.strict_json import JsonReader
from service.engine import Scored
from service.errors import InvalidRequest
from service.inputs.templated import queried, whole

EXAMPLE = {
    "query": ["What is two and two?Four."],
    "prompts": ["What is two and two?"],
    "labels": ["4"],
}


class RewardQuery(Wire):
    query: list[Text] = Field(fail_fast=True)
    prompts: list[Text] | None = Field(None, fail_fast=True)
    labels: list[Any] | None = None


def read_query(sent: Sent, rules: Rules) -> Asked:
    """
    Raises:
        InvalidRequest: the request as a whole is malformed.
    """
    body = read_body(sent, RewardQuery)
    count = len(body.query)
    check_number(count, rules.max_responses)
    prompts = _as_long("prompts", body.prompts, count)
    labels = _as_long("labels", body.labels if image_from(sent) else None, count)
    _as_long("labels", body.labels, count)
    rows = list(zip(body.query, prompts, labels, strict=True))
    parsed = parse_rows(rows, partial(_row, rules, sent.json), "query", rules)
    return Asked(parsed, partial(_answer, parsed, sent.query.get("extra_logs") == "1"))


def _as_long(name: str, values: list[Any] | None, count: int) -> list[Any]:
    if values is None:
        return [None] * count
    if len(values) != count:
        raise InvalidRequest(f"{len(values)} for {count} queries", param=name)
    return values


def _row(rules: Rules, json: JsonReader, row: tuple[str, str | None, Any]) -> dict[str, Any]:
    query, prompt, label = row
    pictures = label_pictures(label, json)
    limit = rules.max_text_chars
    templated_text(query, limit)
    if prompt is None:
        return native(whole(query), pictures)
    messages = messages_in(prompt, json)
    if messages is None:
        return native(queried(query, templated_text(prompt, limit)), pictures)
    check_sizes({"messages": messages}, rules, "")
    chat, own = answered(query, messages)
    return native(chat, [*own, *pictures])


def _answer(parsed: ParsedRequest, extra_logs: bool, scored: Scored, _: Served) -> dict[str, Any]:
    rewards = flat(parsed, scored)
    body: dict[str, Any] = {"rewards": rewards, "scores": rewards}
    return body | {"extra_logs": {}} if extra_logs else body


GET_REWARD = WireFormat(
    ("/get_reward", "/get_reward_mllm"),
    read_query,
    format_docs("get_reward", "Rewards for OpenRLHF, LMM-R1, OpenRLHF-M and R1-Reward", EXAMPLE),
    frozenset({"image_from", "extra_logs"}),
)
