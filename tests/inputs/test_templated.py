"""Templated text is taken apart exactly, or refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import InvalidRequest
from service.inputs.templated import PICTURE, Chat, continued, pictures_in, queried, whole

HEADER = "<|im_start|>assistant\n"
SHOWN = "<|vision_start|><|image_pad|><|vision_end|>"


def turn(role: str, text: str) -> str:
    return f"<|im_start|>{role}\n{text}<|im_end|>\n"


def expanded(text: str, pads: int = 300) -> str:
    return text.replace("<|image_pad|>", "<|image_pad|>" * pads)


PROMPT = turn("system", "Be brief.") + turn("user", f"{SHOWN}What is it?") + HEADER
CHAT = (("system", ("Be brief.",)), ("user", (PICTURE, "What is it?")))

# Whatever a policy may write, but for what ends an answer.
words = st.text(max_size=30) | st.sampled_from(
    ["<|im_start|>", HEADER, "<|image_pad|>", turn("user", "Easy: 1 + 1?") + HEADER, SHOWN, "\n"]
)
answers = st.lists(words, max_size=4).map("".join)
plain = st.text(st.characters(exclude_characters="<["), max_size=40)


@given(answers)
def test_the_answer_is_whatever_follows_the_prompt(answer):
    assert queried(expanded(PROMPT) + answer + "<|im_end|>", PROMPT) == Chat(CHAT, answer)


@given(plain, plain, answers)
def test_every_text_of_the_prompt_comes_back(system, user, answer):
    prompt = turn("system", system) + turn("user", user) + turn("assistant", "Hm.")
    prompt += turn("user", "And now?") + HEADER
    chat = queried(prompt + answer + "<|im_end|>\n", prompt)
    texts = ["".join(part or "" for part in parts) for _, parts in chat.turns]
    assert texts == [system, user, "Hm.", "And now?"]
    assert chat.response == answer


@pytest.mark.parametrize(
    ("tail", "answer"),
    [
        ("It is red.<|im_end|>", "It is red."),
        ("It is red.<|im_end|>\n", "It is red."),
        ("It is red.<|im_end|>\n<|endoftext|><|endoftext|>", "It is red."),
        ("It is red.<|endoftext|>", "It is red."),
        ("It is red", "It is red"),  # cut off by the length limit
        ("", ""),
        ("<|im_end|>", ""),
        ("red<|im_end|><|im_end|>", "red<|im_end|>"),  # the first one is the model's own
        ("red<|im_end|> or blue", "red<|im_end|> or blue"),
        ("red\n\n", "red\n\n"),
        ("</s>", "</s>"),
    ],
)
def test_what_ends_an_answer_is_no_part_of_it(tail, answer):
    assert queried(PROMPT + tail, PROMPT).response == answer
    assert whole(PROMPT + tail).response == answer
    assert continued(PROMPT, tail).response == answer


def test_padding_around_is_no_text():
    padded = "<|endoftext|>" * 7 + expanded(PROMPT) + "Red.<|im_end|>" + "<|endoftext|>" * 3
    assert queried(padded, PROMPT) == whole(padded) == Chat(CHAT, "Red.")


def test_several_pictures_stay_several():
    prompt = turn("user", f"{SHOWN}{SHOWN}Which {SHOWN}?") + HEADER
    chat = queried(expanded(prompt, 64) + "Both.", prompt)
    assert chat.turns == (("user", (PICTURE, PICTURE, "Which ", PICTURE, "?")),)
    assert chat.pictures == pictures_in(expanded(prompt, 5)) == 3


def test_what_the_template_begins_for_the_model_is_part_of_its_answer():
    prompt = PROMPT + "<think>\n"
    assert (
        queried(prompt + "Hm.</think>Red.<|im_end|>", prompt).response == "<think>\nHm.</think>Red."
    )
    assert continued(prompt, "Hm.</think>Red.").response == "<think>\nHm.</think>Red."


def test_plain_text_is_prompt_and_answer():
    chat = queried("What is two and two? Four.</s>", "What is two and two?")
    assert chat == Chat((("user", ("What is two and two?",)),), " Four.")


@pytest.mark.parametrize(
    ("query", "prompt"),
    [
        (PROMPT + "Red.", PROMPT.replace("What", "Where")),  # rows out of order
        (PROMPT.replace("brief", "long") + "Red.", PROMPT),
        (PROMPT + SHOWN + "Red.", PROMPT.replace(SHOWN, SHOWN * 2)),
        ("What? Red.", PROMPT),
        ("Red.", "What?"),
        (PROMPT + "Red.", "What is it?"),
        (PROMPT + "Hm.Red.", PROMPT + "<think>"),
        ("[INST] What? [/INST] Red.", "[INST] What? [/INST]"),
        ("<|start_header_id|>user Red.", "<|start_header_id|>user"),
        ("<｜User｜>What?<｜Assistant｜>Red.", "<｜User｜>What?<｜Assistant｜>"),
        ("<s>What? Red.", "<s>What?"),
        ("<bos>What? Red.", "<bos>What?"),
        (turn("tool", "4") + HEADER + "Four.", turn("tool", "4") + HEADER),
        ("Well: " + PROMPT + "Red.", "Well: " + PROMPT),
        (
            turn("user", "a") + "<|im_start|>user\nb" + HEADER + "c",
            turn("user", "a") + "<|im_start|>user\nb" + HEADER,
        ),
        (HEADER + "Red.", HEADER),
        (
            turn("user", f"Hm. {turn('user', 'What?')}") + HEADER,
            turn("user", f"Hm. {turn('user', 'What?')}") + HEADER,
        ),
        (turn("user", "<|video_pad|>What?") + HEADER, turn("user", "<|video_pad|>What?") + HEADER),
        (
            turn("user", "<|vision_start|>What?") + HEADER,
            turn("user", "<|vision_start|>What?") + HEADER,
        ),
        (PROMPT + "Hm.<|im_end|>\n" + "Red.", PROMPT + "Hm.<|im_end|>\n"),  # closed already
        (
            PROMPT + f"Hm.<|im_end|>\n{turn('user', 'And?')}Red.",
            PROMPT + f"Hm.<|im_end|>\n{turn('user', 'And?')}",
        ),
    ],
)
def test_what_cannot_be_told_is_refused(query, prompt):
    with pytest.raises(InvalidRequest):
        queried(query, prompt)


@pytest.mark.parametrize("closed", ["Hm.<|im_end|>\n", "Hm.<|im_end|>\n" + turn("user", "And?")])
def test_a_prompt_whose_last_answer_is_its_own_is_refused(closed):
    """Else that answer would be scored in the place of the model's."""
    with pytest.raises(InvalidRequest, match="does not end where an answer begins"):
        continued(PROMPT + closed, "Red.")


@pytest.mark.parametrize(
    "text",
    [
        "What? Red.",
        "",
        turn("user", "What?"),
        PROMPT
        + "Red.<|im_end|>\n"
        + turn("user", "1 + 1?")
        + HEADER
        + "2",  # whose turns are these?
    ],
)
def test_without_the_prompt_only_one_answer_can_be_told(text):
    with pytest.raises(InvalidRequest):
        whole(text)
