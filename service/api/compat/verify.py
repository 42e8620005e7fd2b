"""`POST /verify`: NeMo-Gym's resources servers.

In the rollout as objects of OpenAI's Responses API, `{"responses_create_params": {"input"}, "response": {"output"}}`
beside whatever columns its data set has; out all of it again, with the `reward`.
"""

from functools import partial
from typing import Any

from service.api.answers import Served
from service.api.compat.rows import flat
from service.api.endpoint import Asked, Sent, WireFormat
from service.api.items import Rules, check_sizes
from service.api.openapi import format_docs
from service.api.parsing import ParsedRequest, parse_rows
from service.engine import Scored
from service.errors import InvalidRequest

EXAMPLE = {
    "responses_create_params": {"input": [{"role": "user", "content": "What is two and two?"}]},
    "response": {
        "output": [
            {
                "type": "message",
                "role": "assistant",
                "content": [{"type": "output_text", "text": "Four."}],
            }
        ]
    },
}
_TEXTS = ("input_text", "output_text", "text")
_ROLES = {"developer": "system"}


def read_rollout(sent: Sent, rules: Rules) -> Asked:
    """
    Raises:
        InvalidRequest: the request as a whole is malformed.
    """
    size = len(sent.body)
    if size > rules.max_echo_bytes:
        message = (
            f"{size} bytes exceed {rules.max_echo_bytes} (max_echo_bytes): all that comes is answered; "
            "leave out what the reward does not need"
        )
        raise InvalidRequest(message, code="body_too_large")
    body = sent.json.read(sent.body)
    if not isinstance(body, dict):
        raise InvalidRequest("the body must be a JSON object")
    parsed = parse_rows([body], partial(_row, rules), "", rules)
    return Asked(parsed, partial(_answer, parsed, body), echo_bytes=size)


def _row(rules: Rules, body: dict[str, Any]) -> dict[str, Any]:
    asked, answered = body.get("responses_create_params"), body.get("response")
    if not isinstance(asked, dict) or not isinstance(answered, dict):
        raise InvalidRequest("responses_create_params and response are needed")
    given = asked.get("input")
    turns = [{"role": "user", "content": given}] if isinstance(given, str) else given
    where = "responses_create_params.input"
    check_sizes({"messages": turns}, rules, "")
    messages = [_message(turn, where) for turn in _listed(turns, where)]
    if instructions := asked.get("instructions"):
        messages.insert(0, _message({"role": "system", "content": instructions}, "instructions"))
    return {"messages": messages, "response": _response(answered.get("output"), rules)}


def _response(output: Any, rules: Rules) -> str:
    """The one message of the output; what the model thought before it is not judged."""
    where = "response.output"
    items = [item for item in _listed(output, where) if item.get("type") != "reasoning"]
    if len(items) != 1 or items[0].get("type", "message") != "message":
        raise InvalidRequest("one message is needed beside reasoning", param=where)
    check_sizes({"messages": items}, rules, "")
    content = _message({"role": "assistant"} | items[0], where)["content"]
    if isinstance(content, str):
        return content
    if any(part["type"] != "text" for part in content):
        raise InvalidRequest("a response is text", param=where)
    return "".join(part["text"] for part in content)


def _message(turn: dict[str, Any], where: str) -> dict[str, Any]:
    role, content = turn.get("role"), turn.get("content")
    if not isinstance(role, str):
        raise InvalidRequest("the role of a turn must be a text", param=where)
    if isinstance(content, list):
        content = [_part(part, where) for part in _listed(content, where)]
    elif not isinstance(content, str):
        raise InvalidRequest("the content of a turn must be a text or a list", param=where)
    return {"role": _ROLES.get(role, role), "content": content}


def _part(part: dict[str, Any], where: str) -> dict[str, Any]:
    kind = part.get("type")
    if isinstance(kind, str) and kind in _TEXTS and isinstance(part.get("text"), str):
        return {"type": "text", "text": part["text"]}
    if kind == "input_image" and isinstance(part.get("image_url"), str):
        return {"type": "image", "image": part["image_url"]}
    raise InvalidRequest("a part is neither text nor an image_url", param=where)


def _listed(value: Any, param: str) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
        raise InvalidRequest("a list of objects is needed", param=param)
    return value


def _answer(
    parsed: ParsedRequest, body: dict[str, Any], scored: Scored, _: Served
) -> dict[str, Any]:
    (reward,) = flat(parsed, scored)
    return body | {"reward": reward}


VERIFY = WireFormat(
    ("/verify",),
    read_rollout,
    format_docs("verify", "A rollout of NeMo-Gym, with its reward", EXAMPLE),
)
