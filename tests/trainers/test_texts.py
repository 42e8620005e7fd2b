"""Prompts taken apart exactly or refused; and the client's adapters and the server's routes agree on it."""

import copy
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from basereward_client import InvalidPicture, RewardClient
from basereward_client.adapters.texts import (
    context,
    continuation,
    described,
    ended,
    grouped,
    picture,
    rollout,
    seated,
    tagged,
)
from tests.trainers.conftest import CLOSE, QUESTION, Server, png, shape

SYSTEM = "<|im_start|>system\nBe brief.<|im_end|>\n"
USER = "<|im_start|>user\nTwo and two?<|im_end|>\n"
OPEN = "<|im_start|>assistant\n"
SHOWN = "<|vision_start|><|image_pad|><|vision_end|>"
GROWN = "<|vision_start|><|image_pad|><|image_pad|><|image_pad|><|vision_end|>"
EARLIER = f"{OPEN}Four.<|im_end|>\n<|im_start|>user\nSure?<|im_end|>\n"
TEXTS = {
    "plain": ("Two and two?", "Four."),
    "plain, ended": ("Two and two?", "Four.</s><|endoftext|>"),
    "templated": (SYSTEM + USER + OPEN, "Four.<|im_end|>\n"),
    "padded": (f"<|endoftext|><|endoftext|>{USER}{OPEN}", "Four.<|im_end|><|endoftext|>"),
    "cut off": (USER + OPEN, "Fo"),
    "empty": (USER + OPEN, "<|im_end|>"),
    "several turns": (SYSTEM + USER + EARLIER + OPEN, "Yes.<|im_end|>"),
    "thinking": (f"{USER}{OPEN}<think>\n", "2 + 2</think>Four.<|im_end|>"),
    "tokens in the answer": (USER + OPEN, "Four.<|im_end|>\n<|im_start|>user\nAnd?<|im_end|>"),
    "an end in the middle": (USER + OPEN, "<|im_end|>Four."),
    "other markup": ("What is <s> in HTML?", "Struck.<eos>"),
}
REFUSED = {  # here and by the routes
    "another template": ("[INST] Two and two? [/INST]", "Four."),
    "gemma's": ("<start_of_turn>user\nTwo and two?<end_of_turn>\n", "Four."),
    "no open turn": (USER, "Four."),
    "text between turns": (f"{USER}And then{USER}{OPEN}", "Four."),
    "a picture that did not come": (f"<|im_start|>user\n{SHOWN}What?<|im_end|>\n{OPEN}", "A cat."),
}


@pytest.mark.parametrize("name", TEXTS)
def test_same_reward_as_by_the_routes(name: str, server: Server) -> None:
    prompt, response = TEXTS[name]
    (own,) = RewardClient(server.url).score([rollout(prompt, response)])
    sample = {"prompt": prompt, "response": response, "label": ""}
    assert server.post("/reward", sample) == pytest.approx(own, abs=CLOSE)
    query = {"query": [prompt + response], "prompts": [prompt]}
    assert server.post("/get_reward", query)["rewards"] == [pytest.approx(own, abs=CLOSE)]


@pytest.mark.parametrize("name", REFUSED)
def test_refused_here_and_there(name: str, server: Server) -> None:
    prompt, response = REFUSED[name]
    with pytest.raises(ValueError, match=r"prompt|pictures"):
        rollout(prompt, response)
    sample = {"prompt": prompt, "response": response, "label": ""}
    assert server.client.post("/reward", json=sample).status_code == 422


def test_rollout_of_turns() -> None:
    item = rollout(f"{SYSTEM}{USER}{EARLIER}{OPEN}<think>\n", "Yes.<|im_end|>\n")
    assert item == {
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Two and two?"},
            {"role": "assistant", "content": "Four."},
            {"role": "user", "content": "Sure?"},
        ],
        "response": "<think>\nYes.",
    }


@pytest.mark.parametrize("shown", [SHOWN, GROWN, "<|image_pad|>", "<|image_pad|><|image_pad|>"])
def test_pictures_stand_where_their_pads_stood(shown: str) -> None:
    prompt = f"<|im_start|>user\nThis: {shown} and {shown}?<|im_end|>\n{OPEN}"
    item = rollout(prompt, "A cat.<|im_end|>", [b"one", b"two"])
    assert item["messages"][0]["content"] == [
        {"type": "text", "text": "This: "},
        {"type": "image", "image": b"one"},
        {"type": "text", "text": " and "},
        {"type": "image", "image": b"two"},
        {"type": "text", "text": "?"},
    ]


@pytest.mark.parametrize("images", [[b"one"], [b"one"] * 3, None])
def test_as_many_pictures_as_are_shown(images: Any) -> None:
    prompt = f"<|im_start|>user\n{SHOWN}{SHOWN}?<|im_end|>\n{OPEN}"
    with pytest.raises(ValueError, match="2 pictures stand in the turns"):
        rollout(prompt, "A cat.", images)


def test_pictures_that_a_template_does_not_show() -> None:
    with pytest.raises(ValueError, match="shows none"):
        rollout(USER + OPEN, "Four.", [b"one"])


def test_half_a_picture() -> None:
    prompt = f"<|im_start|>user\n<|vision_start|>What?<|im_end|>\n{OPEN}"
    with pytest.raises(ValueError, match="no picture's"):
        rollout(prompt, "A cat.")


def test_continuation_of_a_prompt_whose_pads_have_grown() -> None:
    prompt = f"<|im_start|>user\n{SHOWN}a+b (c)?<|im_end|>\n{OPEN}"
    query = f"<|endoftext|>{prompt.replace(SHOWN, GROWN)}A cat.<|im_end|>"
    assert continuation(query, prompt) == "A cat.<|im_end|>"
    with pytest.raises(ValueError, match="does not begin"):
        continuation(query.replace("a+b", "aab"), prompt)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("Four.<|im_end|>", "Four."),
        ("Four. <|im_end|>\n<|endoftext|><|endoftext|>", "Four. "),
        ("Four.</s>", "Four."),
        ("Four.\n", "Four.\n"),
        ("<|im_end|>Four.", "<|im_end|>Four."),
        ("", ""),
    ],
)
def test_ended(text: str, kept: str) -> None:
    assert ended(text) == kept


def test_turns_with_pictures_of_their_own() -> None:
    """As verl inlines them, and as Arrow fills the keys of blocks."""
    blocks = [
        {"type": "image", "bytes": b"png", "path": "/gone.png", "image": "decoded", "text": None},
        {"type": "image", "bytes": None, "path": "/a.png", "text": None},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA", "detail": "low"}},
        {"type": "text", "text": "What?", "image": None, "bytes": None},
    ]
    (turn,) = seated([{"role": "user", "content": blocks, "name": None}])
    assert turn["content"] == [
        {"type": "image", "image": {"bytes": b"png", "path": "/gone.png"}},
        {"type": "image", "image": Path("/a.png")},
        {"type": "image", "image": "data:image/png;base64,AA"},
        {"type": "text", "text": "What?"},
    ]


def test_as_many_pictures_as_the_turns_hold_of_their_own() -> None:
    own = {"type": "image", "image": b"own"}
    with pytest.raises(ValueError, match="1 pictures stand in the turns, 2 were given"):
        seated([{"role": "user", "content": [own]}], [b"a", b"b"])


def test_seating_leaves_the_trainers_rows_alone() -> None:
    turns = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What?"}]},
    ]
    before = copy.deepcopy(turns)
    assert seated(turns, [b"one"]) != turns
    assert turns == before


@pytest.mark.parametrize(
    ("value", "taken"),
    [
        ("/a/b.png", Path("/a/b.png")),
        ("b.png", Path("b.png")),
        ("file:///a/b%20c.png", Path("/a/b c.png")),
        ("https://example.com/b.png", "https://example.com/b.png"),
        ("data:image/png;base64,AA", "data:image/png;base64,AA"),
        ("iVBORw0KGgoAAAANSUhEUg", "iVBORw0KGgoAAAANSUhEUg"),
        ({"bytes": None, "path": "b.png"}, Path("b.png")),
        ({"bytes": b"png", "path": "b.png"}, {"bytes": b"png", "path": "b.png"}),
        (b"png", b"png"),
    ],
)
def test_picture(value: Any, taken: Any) -> None:
    assert picture(value) == taken


def test_tagged_keeps_the_places() -> None:
    place = {"type": "image"}
    texts = [{"type": "text", "text": text} for text in ("This ", " or ")]
    assert tagged("This <image> or <image>") == [texts[0], place, texts[1], place]
    assert tagged("<image><image>") == [place, place]


def test_described() -> None:
    assert described({"question": "What?"}) == {"prompt": "What?"}
    assert described({"prompt": "What?", "image": b"png"}) == {
        "prompt": "What?",
        "images": [b"png"],
    }
    (turn,) = described({"prompt": "<image>What?", "images": [b"png"]})["messages"]
    assert turn["content"] == [
        {"type": "image", "image": b"png"},
        {"type": "text", "text": "What?"},
    ]
    with pytest.raises(ValueError, match="1 pictures stand"):
        described({"prompt": "<image>What?"})
    with pytest.raises(ValueError, match=r"a prompt or a question.*index"):
        described({"index": 3})


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_described_by_rows_of_a_data_frame(count: int) -> None:
    """Whose lists are arrays, which have a length and no truth."""
    images = np.empty(count, dtype=object)
    images[:] = [b"png"] * count
    turns = np.empty(1, dtype=object)
    turns[0] = {"role": "user", "content": "What?"}
    item = described({"prompt": "What?", "images": images})
    assert item.get("images", []) == [b"png"] * count
    (turn,) = described({"prompt": turns, "images": images})["messages"]
    assert turn["content"] == "What?" or len(turn["content"]) == count + 1


@pytest.mark.parametrize("array", [np.zeros((4, 4, 3)), np.zeros((3, 40, 40), dtype=np.uint8)])
def test_an_array_that_does_not_say_how_it_looks(array: Any) -> None:
    with pytest.raises(InvalidPicture, match=r"an array must be uint8.*this one is"):
        described({"prompt": "What?", "image": array})


def test_an_end_of_any_length_is_found_in_one_pass() -> None:
    padding = "<|endoftext|>" * 100_000
    begun = time.perf_counter()
    assert ended(f"Four.<|im_end|>{padding}") == "Four."
    assert ended(f"{padding}Four.{padding}x") == f"{padding}Four.{padding}x"
    assert time.perf_counter() - begun < 5.0


def test_described_by_turns_whose_texts_hold_the_places() -> None:
    """As verl's own column `prompt`: were the tag left a text, it would be scored."""
    system = {"role": "system", "content": "Be brief."}
    asked = {"role": "user", "content": "Is <image> like <image>?"}
    item = described({"prompt": [system, asked], "images": [b"one", b"two"]})
    assert item["messages"][0] == system
    assert item["messages"][1]["content"] == [
        {"type": "text", "text": "Is "},
        {"type": "image", "image": b"one"},
        {"type": "text", "text": " like "},
        {"type": "image", "image": b"two"},
        {"type": "text", "text": "?"},
    ]
    with pytest.raises(ValueError, match="2 pictures stand in the turns, 1 were given"):
        described({"prompt": [asked], "images": [b"one"]})


@pytest.mark.parametrize("kind", [Image.Image.copy, np.array], ids=["PIL", "numpy"])
def test_grouped_by_neighbours_of_equal_pixels(kind: Any) -> None:
    images = [shape(colour) for colour in ("red", "red", "blue")]
    contexts = [context("What?", [kind(image)]) for image in images]
    items, indices = grouped([*contexts, contexts[0]], ["a", "b", "c", "d"])
    assert [item["responses"] for item in items] == [["a", "b"], ["c"], ["d"]]
    assert indices == [0, 0, 1, 2]


def test_picture_by_every_way_is_the_same_picture(server: Server, tmp_path: Path) -> None:
    image = shape("red")
    (tmp_path / "red.png").write_bytes(png(image))
    ways = [image, png(image), str(tmp_path / "red.png"), {"bytes": png(image), "path": None}]
    items = [context(QUESTION, [way]) | {"response": "Red."} for way in ways]
    expected = server.reward("Red.", QUESTION, image)
    assert RewardClient(server.url).score(items) == pytest.approx([expected] * 4, abs=CLOSE)
