"""Server and client take templated text apart each by itself; what they make of it must be the same."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from basereward_client.adapters import texts
from service.errors import InvalidRequest
from service.inputs import templated

HEADER = "<|im_start|>assistant\n"
SHOWN = "<|vision_start|><|image_pad|><|image_pad|><|vision_end|>"
pieces = st.lists(
    st.text("ab <|>\n", max_size=6)
    | st.sampled_from(
        [
            "<|im_start|>system\nBe brief.<|im_end|>\n",
            f"<|im_start|>user\n{SHOWN}What?<|im_end|>\n",
            "<|im_start|>user\nWhat?<|im_end|>\n",
            f"{HEADER}Hm.<|im_end|>\n",
            HEADER,
            "<think>\n",
            "<|im_end|>",
            "<|image_pad|>",
            "<|endoftext|>",
            "</s>",
            "<s>",
            "[INST]",
        ]
    ),
    max_size=5,
).map("".join)


def _unpadded(text: str) -> str:
    while text.startswith(templated.PADDING):
        text = text.removeprefix(templated.PADDING)
    return text


def by_server(prompt: str, response: str) -> tuple[list[tuple[str, list[str | None]]], str] | None:
    try:
        chat = templated.continued(_unpadded(prompt), response)
    except InvalidRequest:
        return None
    return [(role, list(parts)) for role, parts in chat.turns], chat.response


def by_client(prompt: str, response: str) -> tuple[list[tuple[str, list[str | None]]], str] | None:
    pictures = [b"x"] * templated.pictures_in(prompt.rpartition(HEADER)[0])
    try:
        item = texts.rollout(prompt, response, pictures)
    except ValueError:
        return None
    if "prompt" in item:
        return [("user", [item["prompt"]])], item["response"]
    return [(m["role"], _parts(m["content"])) for m in item["messages"]], item["response"]


def _parts(content: str | list[dict[str, str]]) -> list[str | None]:
    if isinstance(content, str):
        return [content] if content else []
    return [part.get("text") if part["type"] == "text" else None for part in content]


@settings(max_examples=500)
@given(pieces | pieces.map(lambda text: text + HEADER), pieces)
def test_any_text(prompt: str, response: str) -> None:
    assert by_client(prompt, response) == by_server(prompt, response)


@pytest.mark.parametrize("response", ["Red.<|im_end|>", "Red.", f"Hm.<|im_end|>\n{HEADER}2"])
@pytest.mark.parametrize(
    "prompt",
    [
        f"<|im_start|>user\n{SHOWN}What?<|im_end|>\n{HEADER}",
        f"<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nWhat?<|im_end|>\n{HEADER}<think>\n",
        "What?",
    ],
)
def test_what_can_be_told(prompt: str, response: str) -> None:
    told = by_server(prompt, response)
    assert told is not None
    assert by_client(prompt, response) == told
