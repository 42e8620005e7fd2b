"""Taking templated text apart costs by its length alone, whatever is repeated in it; with the expressions it once took
seconds for 260 kB and minutes for 2.6 MB, and no other thread ran meanwhile."""

import time

import pytest

from service.errors import InvalidRequest
from service.inputs.templated import (
    ANSWER,
    answer_of,
    continued,
    num_chars,
    pictures_in,
    queried,
    whole,
)

USER = "<|im_start|>user\n"
REPEATED = {
    "padding": ("<|endoftext|>", "x"),
    "ends": ("<|im_end|>\n", "x"),
    "pads": ("<|image_pad|>", "x"),
    "pads-begun": ("<|vision_start|><|image_pad|>", "x"),
    "pictures": ("<|vision_start|><|image_pad|><|vision_end|>", ""),
    "headers": (USER, ""),
    "turns": (f"{USER}a<|im_end|>\n", ""),
    "half-tokens": ("<|", ""),
    "word-tokens": ("<|aaaaaaaa", ""),
    "wide-tokens": ("<｜a", ""),
    "instructions": ("[/INST", ""),
}
CHARS = 2_600_000
MOST_S = 5.0  # a tenth of a second is usual; what backtracks takes over a minute


def refused_or_not(work, *texts):
    try:
        return work(*texts)
    except InvalidRequest as error:
        return error


@pytest.mark.parametrize("kind", REPEATED)
def test_long_repeated_text_is_quick(kind):
    one, last = REPEATED[kind]
    text = one * (CHARS // len(one)) + last
    head = f"{USER}a<|im_end|>\n{ANSWER}"
    begun = time.thread_time()
    for work, texts in [
        (whole, (head + text,)),
        (whole, (f"{USER}{text}<|im_end|>\n{ANSWER}a",)),
        (answer_of, (text,)),
        (pictures_in, (text,)),
        (continued, ("a", text)),
        (continued, (text, "a")),
        (queried, (text + text, text)),
        (queried, (head + text, head)),
        (num_chars, (text,)),
    ]:
        refused_or_not(work, *texts)
    assert time.thread_time() - begun < MOST_S


def test_long_text_is_taken_apart_rightly():
    """The right values at length: only the padding at the end, and one end before it, is no part of the answer."""
    padding = "<|endoftext|>" * 100_000
    assert answer_of(f"{padding}x{padding}") == f"{padding}x"
    assert answer_of(f"a<|im_end|>\n<|im_end|>\n{padding}") == "a<|im_end|>\n"
    assert continued("p", f"a</s>{padding}").response == "a"
    pads = "<|image_pad|>" * 100_000
    assert pictures_in(f"{pads}a<|vision_start|>{pads}<|vision_end|>{pads}") == 3
    assert num_chars(f"{pads}ab{padding}") == 2
