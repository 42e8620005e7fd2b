"""`POST /score`: the native format (API.md §1), as JSON or with its pictures as parts of a form."""

from functools import partial

from service.api import multipart
from service.api.answers import score_body
from service.api.endpoint import JSON_TYPES, Asked, Sent, WireFormat
from service.api.items import Rules
from service.api.openapi import SCORE_DOCS
from service.api.parsing import parse_request


def read_score(sent: Sent, rules: Rules) -> Asked:
    """
    Raises:
        InvalidRequest: the request as a whole is malformed.
    """
    if multipart.is_form(sent.content_type):
        form = multipart.parse_form(sent.body, sent.content_type, rules.max_images)
        parsed = parse_request(sent.json.read(form.request), rules, form.pictures)
    else:
        parsed = parse_request(sent.json.read(sent.body), rules)
    return Asked(parsed, partial(score_body, parsed))


SCORE = WireFormat(
    ("/score", "/v1/score"),
    read_score,
    SCORE_DOCS,
    content_types=(*JSON_TYPES, multipart.CONTENT_TYPE),
    patient=False,
)
