"""`POST /verify`: NeMo-Gym's resources servers.

In the rollout as objects of OpenAI's Responses API, `{"responses_create_params": {"input"}, "response": {"output"}}`
beside whatever columns its data set has; out all of it again, with the `reward`.
"""

from functools import partial
from typing import Any

from service.api.answers import Served
from service.api.body import parse_json
from service.api.compat.rows import flat, row_or_error
from service.api.endpoint import Asked, Sent, WireFormat
from service.api.items import Rules
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
    body = parse_json(sent.body)
    if not isinstance(body, dict):
        raise InvalidRequest("the body must be a JSON object")
    parsed = parse_rows([row_or_error(partial(_row, body))], "", rules)
    return Asked(parsed, partial(_answer, parsed, body))


def _row(body: dict[str, Any]) -> dict[str, Any]:
    asked, answered = body.get("responses_create_params"), body.get("response")
    if not isinstance(asked, dict) or not isinstance(answered, dict):
        raise InvalidRequest("responses_create_params and response are needed")
    given = asked.get("input")
    turns = [{"role": "user", "content": given}] if isinstance(given, str) else given
    messages = [_message(turn) for turn in _listed(turns, "responses_create_params.input")]
    if asked.get("instructions"):
        messages.insert(0, {"role": "system", "content": asked["instructions"]})
    return {"messages": messages, "response": _response(answered.get("output"))}


def _response(output: Any) -> str:
    """The one message of the output; what the model thought before it is not judged."""
    items = [item for item in _listed(output, "response.output") if item.get("type") != "reasoning"]
    if len(items) != 1 or items[0].get("type", "message") != "message":
        raise InvalidRequest("one message is needed beside reasoning", param="response.output")
    content = _message(items[0])["content"]
    if isinstance(content, str):
        return content
    if any(part["type"] != "text" for part in content):
        raise InvalidRequest("a response is text", param="response.output")
    return "".join(part["text"] for part in content)


def _message(turn: dict[str, Any]) -> dict[str, Any]:
    role, content = turn.get("role"), turn.get("content")
    if isinstance(content, list):
        content = [_part(part) for part in _listed(content, "content")]
    return {"role": _ROLES.get(str(role), role), "content": content}


def _part(part: dict[str, Any]) -> dict[str, Any]:
    if part.get("type") in _TEXTS:
        return {"type": "text", "text": part.get("text")}
    if part.get("type") == "input_image" and isinstance(part.get("image_url"), str):
        return {"type": "image", "image": part["image_url"]}
    raise InvalidRequest("a part is neither text nor an image_url")


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
