"""The wire format of `/score` (API.md §1). An unknown key is an error; a null is an absent key."""

from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    FiniteFloat,
    StringConstraints,
    Tag,
    model_validator,
)
from pydantic_core import PydanticCustomError

Text = Annotated[str, StringConstraints(strict=True)]
UNKNOWN_KEY = "unknown_key"
# Tags of unions by the kind of the JSON value; no key of an input is taken for one of them.
TEXT, LIST, OBJECT = "(text)", "(list)", "(object)"


class Wire(BaseModel):
    """Validation stops at the first unknown key, and lists stop at their first bad element (`fail_fast`).

    An error is made for each fault that validation goes past: a list of a million faults is a gigabyte of them.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, value: Any) -> Any:
        if isinstance(value, dict) and not value.keys() <= cls.__pydantic_fields__.keys():
            key = next(key for key in value if key not in cls.__pydantic_fields__)
            raise PydanticCustomError(UNKNOWN_KEY, "unknown key", {"key": key})
        return value


def by_kind(other: str) -> Discriminator:
    """A text is validated as a text, whatever else as the union's other member: its faults are the ones reported."""
    return Discriminator(lambda value: TEXT if isinstance(value, str) else other)


class ImageRef(Wire):
    ref: Text = Field(description="A name in `image_table`.")


ImageSource = Annotated[
    Annotated[Text, Tag(TEXT)] | Annotated[ImageRef, Tag(OBJECT)],
    by_kind(OBJECT),
    Field(
        description="data: URI, bare base64, {ref}, or an https:// or file:// URL the operator allows."
    ),
]


class TextPart(Wire):
    type: Literal["text"]
    text: Text


class ImageUrl(Wire):
    url: Text = Field(description="As an image source, or `ref:NAME`.")
    detail: Text | None = Field(None, description="Ignored.")


class ImageUrlPart(Wire):
    type: Literal["image_url"]
    image_url: Annotated[
        Annotated[Text, Tag(TEXT)] | Annotated[ImageUrl, Tag(OBJECT)], by_kind(OBJECT)
    ]


class ImagePart(Wire):
    type: Literal["image"]
    image: ImageSource


Part = Annotated[TextPart | ImageUrlPart | ImagePart, Field(discriminator="type")]


class Message(Wire):
    role: Literal["system", "user", "assistant"]
    content: Annotated[
        Annotated[Text, Tag(TEXT)] | Annotated[list[Part], Field(fail_fast=True), Tag(LIST)],
        by_kind(LIST),
    ]


class ScoreItem(Wire):
    """One context with its response, or with a group of them."""

    prompt: Text | None = None
    messages: list[Message] | None = Field(None, min_length=1, fail_fast=True)
    response: Text | None = None
    responses: list[Text] | None = Field(None, min_length=1, fail_fast=True)
    image: ImageSource | None = Field(None, description="Short for one-element `images`.")
    images: list[ImageSource] | None = Field(None, fail_fast=True)
    image_tag: Text | None = Field(
        None,
        min_length=1,
        description="Each occurrence in the prompt is one picture, e.g. `<image>`.",
    )
    system: Text | None = Field(
        None, description="Absent: the checkpoint's; empty: no system turn."
    )
    id: Text | None = Field(None, description="Echoed in `ids`.")


class Sigmoid(Wire):
    temperature: Annotated[FiniteFloat, Field(gt=0, strict=True)] = 1.0
    offset: Annotated[FiniteFloat, Field(strict=True)] = 0.0


class SigmoidTransform(Wire):
    sigmoid: Sigmoid


Transform = Annotated[
    Annotated[Literal["none", "sigmoid"], Tag(TEXT)] | Annotated[SigmoidTransform, Tag(OBJECT)],
    by_kind(OBJECT),
]


class Options(Wire):
    """What goes for the request as a whole."""

    image_table: dict[Text, Text] = Field({}, description="Pictures sent once, by name.")
    model: Text | None = None
    transform: Transform = "none"
    on_error: Literal["fail", "null"] = "fail"
    truncate: Literal["never", "prompt"] = "never"
    timeout_s: Annotated[FiniteFloat, Field(gt=0, le=86_400, strict=True)] | None = None


class ScoreRequest(Options):
    """Items are validated one by one, so that a bad one can be named, or skipped with `on_error: null`."""

    items: list[ScoreItem] = Field(min_length=1)


class ScoreItemRequest(ScoreItem, Options):
    """The short form: a body that is itself one item."""


class ItemErrorBody(BaseModel):
    index: int
    response: int | None
    code: str
    message: str


class WarningBody(BaseModel):
    index: int
    response: int | None
    code: str
    message: str


class UsageBody(BaseModel):
    items: int
    responses: int
    text_tokens: int
    image_tokens: int
    shared_tokens: int


class TimingBody(BaseModel):
    total: float
    prepare: float
    queue: float
    forward: float


Reward = float | None


class ScoreResponse(BaseModel):
    """Rewards mirror the items; null stands only where `errors` says why."""

    id: str
    model: str
    fingerprint: str
    numerics: str
    rewards: list[Reward | list[Reward]]
    reward: Reward = Field(None, description="The short form's one reward.")
    ids: list[str | None] | None = None
    errors: list[ItemErrorBody]
    warnings: list[WarningBody]
    usage: UsageBody
    timing_ms: TimingBody


class ErrorDetail(BaseModel):
    code: str
    message: str
    param: str | None = None
    request_id: str
    items: list[ItemErrorBody] | None = None
    current: dict[str, str] | None = Field(None, description="The served values, with a 412.")


class ErrorBody(BaseModel):
    error: ErrorDetail


# Keys the contract keeps for later: said so, instead of "unknown".
RESERVED = frozenset({"group_size", "priority", "cache_salt"})
ITEM_KEYS = frozenset(ScoreItem.model_fields)
OPTION_KEYS = frozenset(Options.model_fields)

_RED_PNG = (
    "iVBORw0KGgoAAAANSUhEUgAAABwAAAAcAQMAAABIw03XAAAAA1BMVEX/AAAZ"
    "4gk3AAAADElEQVR42mNgGDwAAACMAAG8DKgnAAAAAElFTkSuQmCC"
)
EXAMPLES: dict[str, Any] = {
    "one": {
        "summary": "One response (short form)",
        "value": {"prompt": "What colour is the circle?", "response": "It is red."},
    },
    "group": {
        "summary": "A group: one context, several responses",
        "value": {
            "items": [
                {
                    "prompt": "What colour is the circle?",
                    "images": [{"ref": "shapes"}],
                    "responses": ["Red.", "Blue."],
                    "id": "q17",
                }
            ],
            "image_table": {"shapes": f"data:image/png;base64,{_RED_PNG}"},
            "on_error": "null",
        },
    },
}
