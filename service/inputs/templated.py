"""Conversations that a trainer has templated (ChatML, as Qwen's models) and decoded again, taken apart.

What cannot be told for certain is an error: a wrong cut would be a wrong reward that nobody sees.
"""

import re
from dataclasses import dataclass

from service.errors import InvalidRequest

PICTURE = None  # among the parts of a turn: here stands a picture
Part = str | None
Turn = tuple[str, tuple[Part, ...]]

ANSWER = "<|im_start|>assistant\n"
_TURN = re.compile(r"<\|im_start\|>(system|user|assistant)\n(.*?)<\|im_end\|>\n?", re.DOTALL)
# A processor repeats the pad once a picture token; the tokens around it may be missing.
_PICTURE = re.compile(
    r"<\|vision_start\|>(?:<\|image_pad\|>)+<\|vision_end\|>|(?:<\|image_pad\|>)+"
)
_PADDING = re.compile(r"\A(?:<\|endoftext\|>)+")
_ENDED = re.compile(r"(?:<\|im_end\|>\n?)?(?:<\|endoftext\|>)*\Z")
_ENDED_PLAIN = re.compile(r"(?:<\|im_end\|>\n?|</s>|<eos>)?(?:<\|endoftext\|>)*\Z")
# What structures a conversation: in a turn's text they tell of a turn that was cut, or of a picture or video that was.
_STRUCTURE = re.compile(r"<\|(?:im_start|im_end|vision_start|vision_end|image_pad|video_pad)\|>")
# Marks of other templates: text that holds one is no plain prompt.
_TOKEN = re.compile(r"<\|\w+\|>|<｜[^｜]+｜>|<start_of_turn>|\[/?INST\]|\A<s>|\A<bos>")


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
        return Chat((("user", (_plain(prompt),)),), _ENDED_PLAIN.sub("", response, count=1))
    head, begun = _opened(prompt)
    return Chat(turns_of(head), answer_of(begun + response))


def queried(query: str, prompt: str) -> Chat:
    """Prompt and answer as one text, and the prompt by itself, in which each picture may be one pad instead of many.

    Raises:
        InvalidRequest: as `continued`, or the query does not begin with the prompt.
    """
    query, prompt = _PADDING.sub("", query), _PADDING.sub("", prompt)
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
    head = _PADDING.sub("", head)
    turns: list[Turn] = []
    at = 0
    while match := _TURN.match(head, at):
        turns.append((match[1], _parts(match[2])))
        at = match.end()
    if at != len(head) or not turns:
        raise InvalidRequest("the prompt is not a sequence of ChatML turns")
    return tuple(turns)


def answer_of(tail: str) -> str:
    """The answer without the tokens that end and pad it; any others in it are the model's own words."""
    return _ENDED.sub("", tail, count=1)


def pictures_in(text: str) -> int:
    """How many pictures templated text shows."""
    return len(_PICTURE.findall(text))


def _parts(content: str) -> tuple[Part, ...]:
    pieces = _PICTURE.split(content)
    stray = next(filter(None, map(_STRUCTURE.search, pieces)), None)
    if stray:
        raise InvalidRequest(f"a turn of the prompt holds {stray[0]} in its text")
    parts: list[Part] = [pieces[0]]
    for piece in pieces[1:]:
        parts += [PICTURE, piece]
    return tuple(part for part in parts if part != "")


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
    return _PICTURE.sub("<|image_pad|>", text)


def _plain(prompt: str) -> str:
    found = _TOKEN.search(prompt)
    if found:
        raise InvalidRequest(f"the prompt holds {found[0]} but no ChatML assistant turn")
    return prompt
