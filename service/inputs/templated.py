"""Conversations that a trainer has templated (ChatML, as Qwen's models) and decoded again, taken apart.

What cannot be told for certain is an error: a wrong cut would be a wrong reward that nobody sees.
"""

import re
from dataclasses import dataclass

from service.errors import InvalidRequest

PICTURE = None  # among the parts of a turn: here stands a picture
Part = str | None
Turn = tuple[str, tuple[Part, ...]]

START, END = "<|im_start|>", "<|im_end|>"
ANSWER = f"{START}assistant\n"
PAD = "<|image_pad|>"  # a processor repeats it once a picture token
VISION_START, VISION_END = (
    "<|vision_start|>",
    "<|vision_end|>",
)  # around the pads; they may be missing
PADDING = "<|endoftext|>"
_HEADERS = tuple((f"{START}{role}\n", role) for role in ("system", "user", "assistant"))
_ENDS = (f"{END}\n", END)
_PLAIN_ENDS = (*_ENDS, "</s>", "<eos>")
# Callers' texts are taken apart by find, split and startswith, each character once: an expression that backtracks keeps
# the interpreter, over 2.6 MB for minutes. The two below cannot: every repeat in them is possessive.
# What structures a conversation: in a turn's text they tell of a turn that was cut, or of a picture or video that was.
_STRUCTURE = re.compile(r"<\|(?:im_start|im_end|vision_start|vision_end|image_pad|video_pad)\|>")
# Marks of other templates: text that holds one is no plain prompt.
_TOKEN = re.compile(r"<\|\w++\|>|<｜[^｜]++｜>|<start_of_turn>|\[/?INST\]|\A<s>|\A<bos>")


@dataclass(frozen=True, slots=True)
class Chat:
    """A conversation and the answer to it."""

    turns: tuple[Turn, ...]  # a system turn first, if there is one; the last is the user's
    response: str

    @property
    def pictures(self) -> int:
        return sum(part is PICTURE for _, parts in self.turns for part in parts)


def whole(text: str) -> Chat:
    """A templated conversation with its answer at the end.

    Raises:
        InvalidRequest: it does not hold exactly one assistant turn. With more, nothing in the text tells which of
            them are the model's: it may have written the others' tokens itself.
    """
    count = text.count(ANSWER)
    if count != 1:
        raise InvalidRequest(f"one assistant turn is needed to tell the response; it has {count}")
    head, _, tail = text.partition(ANSWER)
    return Chat(turns_of(head), answer_of(tail))


def continued(prompt: str, response: str) -> Chat:
    """A prompt, templated or plain, and what the model wrote after it.

    Raises:
        InvalidRequest: the prompt is in a template other than ChatML, or does not end where an answer begins.
    """
    if ANSWER not in prompt:
        return Chat((("user", (_plain(prompt),)),), _without_end(response, _PLAIN_ENDS))
    head, begun = _opened(prompt)
    return Chat(turns_of(head), answer_of(begun + response))


def queried(query: str, prompt: str) -> Chat:
    """Prompt and answer as one text, and the prompt by itself, in which each picture may be one pad instead of many.

    Raises:
        InvalidRequest: as `continued`, or the query does not begin with the prompt.
    """
    query, prompt = _without_padding(query), _without_padding(prompt)
    headers = prompt.count(ANSWER)
    if headers:
        head, tail = cut(query, headers)
        begun, start = _opened(prompt)
        same = _one_pad(head) == _one_pad(begun) and tail.startswith(start)
        chat = Chat(turns_of(head), answer_of(tail))
    else:
        same = query.startswith(prompt)
        chat = continued(prompt, query[len(prompt) :])
    if not same:
        raise InvalidRequest("the query does not begin with the prompt")
    return chat


def cut(query: str, headers: int) -> tuple[str, str]:
    """What stands before the last of so many assistant headers, and after it.

    Raises:
        InvalidRequest: there are fewer.
    """
    pieces = query.split(ANSWER, headers)
    if len(pieces) <= headers:
        raise InvalidRequest(
            f"{headers} assistant turns were expected; it has {len(pieces) - 1}: only ChatML is understood"
        )
    return ANSWER.join(pieces[:headers]), pieces[headers]


def turns_of(head: str) -> tuple[Turn, ...]:
    """The turns of a templated context, complete ones only.

    Raises:
        InvalidRequest: something stands between or after them, or a turn holds a token that only structures.
    """
    turns: list[Turn] = []
    at = _after_padding(head)
    while found := _turn_at(head, at):
        turn, at = found
        turns.append(turn)
    if at != len(head) or not turns:
        raise InvalidRequest("the prompt is not a sequence of ChatML turns")
    return tuple(turns)


def _turn_at(head: str, at: int) -> tuple[Turn, int] | None:
    """The turn that begins here, and where it ends."""
    for header, role in _HEADERS:
        if head.startswith(header, at):
            begin = at + len(header)
            end = head.find(END, begin)
            if end < 0:
                return None
            after = end + len(END)
            return (role, _parts(head[begin:end])), after + head.startswith("\n", after)
    return None


def answer_of(tail: str) -> str:
    """The answer without the tokens that end and pad it; any others in it are the model's own words."""
    return _without_end(tail, _ENDS)


def pictures_in(text: str) -> int:
    """How many pictures templated text shows."""
    return len(_around_pictures(text)) - 1


def num_chars(text: str) -> int:
    """Characters of templated text without pads of pictures and padding, of which a processor makes any number."""
    return len(text) - len(PAD) * text.count(PAD) - len(PADDING) * text.count(PADDING)


def _parts(content: str) -> tuple[Part, ...]:
    pieces = _around_pictures(content)
    stray = next(filter(None, map(_STRUCTURE.search, pieces)), None)
    if stray:
        raise InvalidRequest(f"a turn of the prompt holds {stray[0]} in its text")
    parts: list[Part] = [pieces[0]]
    for piece in pieces[1:]:
        parts += [PICTURE, piece]
    return tuple(part for part in parts if part != "")


def _around_pictures(text: str) -> list[str]:
    """The text before, between and after pictures: a picture is a run of pads, with or without the tokens around it."""
    first, *rest = text.split(PAD)
    pieces = [first]
    for i, piece in enumerate(rest):
        if piece == "" and i + 1 < len(rest):
            continue  # the next pad of the same run
        if pieces[-1].endswith(VISION_START) and piece.startswith(VISION_END):
            pieces[-1] = pieces[-1].removesuffix(VISION_START)
            piece = piece.removeprefix(VISION_END)
        pieces.append(piece)
    return pieces


def _without_end(text: str, ends: tuple[str, ...]) -> str:
    """Without the padding at its end and, before that, one of the tokens that end an answer."""
    end = len(text)
    while text.endswith(PADDING, 0, end):
        end -= len(PADDING)
    mark = next((mark for mark in ends if text.endswith(mark, 0, end)), "")
    return text[: end - len(mark)]


def _after_padding(text: str) -> int:
    at = 0
    while text.startswith(PADDING, at):
        at += len(PADDING)
    return at


def _without_padding(text: str) -> str:
    return text[_after_padding(text) :]


def _opened(prompt: str) -> tuple[str, str]:
    """The context, and the text that the template has put into the assistant's turn already.

    Raises:
        InvalidRequest: the prompt's last assistant turn is not an open one.
    """
    head, _, begun = prompt.rpartition(ANSWER)
    found = _TOKEN.search(begun)
    if found:
        raise InvalidRequest(f"the prompt does not end where an answer begins: {found[0]} follows")
    return head, begun


def _one_pad(text: str) -> str:
    return PAD.join(_around_pictures(text))


def _plain(prompt: str) -> str:
    found = _TOKEN.search(prompt)
    if found:
        raise InvalidRequest(f"the prompt holds {found[0]} but no ChatML assistant turn")
    return prompt
