"""`/v2/…`: the Open Inference Protocol of KServe's and Triton's clients, over REST.

In a BYTES tensor whose elements are items as JSON, one response each; out an FP32 tensor `reward` of the same shape.
"""

from functools import partial
from typing import Any

from fastapi import APIRouter
from pydantic import Field, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from service.api.answers import Served
from service.api.compat.rows import flat
from service.api.compat.tensor import Tensor, elements, split
from service.api.endpoint import JSON_TYPES, Asked, Sent, WireFormat
from service.api.faults import fault
from service.api.items import Rules
from service.api.openapi import format_docs
from service.api.operations import Operations
from service.api.parameters import check_model
from service.api.parsing import ParsedRequest, parse_rows
from service.api.schemas import Options, Text, Wire
from service.api.strict_json import JsonReader
from service.engine import RewardEngine, Scored
from service.errors import InvalidRequest

OUTPUT = "reward"
EXAMPLE = {
    "inputs": [
        {
            "name": "item",
            "shape": [1],
            "datatype": "BYTES",
            "data": ['{"prompt": "What is two and two?", "response": "Four."}'],
        }
    ]
}


class Output(Wire):
    name: Text
    parameters: dict[str, Any] | None = (
        None  # asks for binary data; the answer is JSON all the same
    )


class Inference(Wire):
    id: Text | None = None
    inputs: list[Tensor] = Field(min_length=1, max_length=1, fail_fast=True)
    outputs: list[Output] | None = Field(None, fail_fast=True)
    parameters: dict[str, Any] | None = None


def read_inference(sent: Sent, rules: Rules) -> Asked:
    """
    Raises:
        InvalidRequest: the request as a whole is malformed.
    """
    head, binary = split(sent.body, sent.headers.get("inference-header-content-length"))
    value = sent.json.read(head)
    try:
        request = Inference.model_validate(value)
    except ValidationError as error:
        raise fault(error, value, "") from None
    for output in request.outputs or ():
        if output.name != OUTPUT:
            raise InvalidRequest(f"the one output is {OUTPUT!r}", param="outputs")
    (tensor,) = request.inputs
    texts = elements(tensor, binary, rules.max_responses)
    options = Options(model=sent.path["name"])
    parsed = parse_rows(texts, partial(_row, sent.json), "inputs[0].data", rules, options)
    return Asked(parsed, partial(_answer, parsed, request.id, tensor.shape))


def _row(json: JsonReader, text: str) -> dict[str, Any]:
    item = json.read(text.encode(), "an element")
    if not isinstance(item, dict):
        raise InvalidRequest("an item must be a JSON object")
    if "responses" in item:
        raise InvalidRequest("an element is an item with one response")
    return item


def _answer(
    parsed: ParsedRequest, name: str | None, shape: list[int], scored: Scored, served: Served
) -> dict[str, Any]:
    output = {"name": OUTPUT, "datatype": "FP32", "shape": shape, "data": flat(parsed, scored)}
    return {
        "model_name": served.info.name,
        "model_version": served.info.fingerprint,
        "id": name or served.request_id,
        "outputs": [output],
    }


INFERENCE = WireFormat(
    ("/v2/models/{name}/infer",),
    read_inference,
    format_docs("infer", "Rewards by the Open Inference Protocol", EXAMPLE),
    content_types=(*JSON_TYPES, "application/octet-stream"),
)


def inference_router(engine: RewardEngine, operations: Operations) -> APIRouter:
    """The protocol's questions about the server and its model."""
    router = APIRouter()

    @router.get("/v2/health/live")
    async def live() -> Response:
        status, _, _ = operations.livez()
        return JSONResponse({"live": status == 200}, status)  # noqa: PLR2004 - HTTP's own number

    @router.get("/v2/health/ready")
    async def ready() -> Response:
        status, _, _ = operations.readyz()
        return JSONResponse({"ready": status == 200}, status)  # noqa: PLR2004 - HTTP's own number

    @router.get("/v2/models/{name}/ready")
    async def model_ready(request: Request) -> Response:
        check_model(request.path_params["name"], engine.model.info)
        return await ready()

    @router.get("/v2/models/{name}")
    async def model(request: Request) -> Response:
        check_model(request.path_params["name"], engine.model.info)
        return JSONResponse(_metadata(engine.model.info.name, engine.model.info.fingerprint))

    return router


def _metadata(name: str, version: str) -> dict[str, Any]:
    return {
        "name": name,
        "versions": [version],
        "platform": "basereward",
        "inputs": [{"name": "item", "datatype": "BYTES", "shape": [-1]}],
        "outputs": [{"name": OUTPUT, "datatype": "FP32", "shape": [-1]}],
    }
