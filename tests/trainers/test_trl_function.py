"""TRL's reward function, called as its trainers call it: its columns, answers and groups."""

import asyncio
import logging
import pickle
from collections.abc import Iterator
from typing import Any

import pytest
from PIL import Image

from basereward_client import RewardClient, Scheme
from basereward_client.adapters.trl import make_reward_func
from tests.trainers.conftest import CLOSE, QUESTION, Server, normal, shape, sigmoid

ASKED = [{"role": "user", "content": QUESTION}]


def test_pickles(url: str, server: Server) -> None:
    """As async GRPO needs it, which scores in a process of its own."""
    reward = pickle.loads(pickle.dumps(make_reward_func(url, name="other")))
    assert reward.__name__ == "other"
    expected = server.reward("Four.", "Two and two?")
    assert reward(prompts=["Two and two?"], completions=["Four."]) == [
        pytest.approx(expected, abs=CLOSE)
    ]


def test_hybrid_takes_answers_from_their_column(url: str, server: Server) -> None:
    reward = make_reward_func(url, scheme=Scheme("hybrid"), answer_column="solution")
    texts = ["4", "5", "6", "4"]
    answers = ["4", "5", None, "5"]
    got = reward(prompts=["Two and two?"] * 4, completions=texts, solution=answers)
    sigmoids = [sigmoid(server.reward(text, "Two and two?")) for text in texts]
    assert got == [1, 1, *(pytest.approx(s, abs=CLOSE) for s in sigmoids[2:])]


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
def test_groups_of_equal_prompts(is_async: bool, url: str, server: Server) -> None:
    reward = make_reward_func(url, scheme=Scheme(normalise_groups=True), is_async=is_async)
    prompts = [QUESTION] * 3 + ["How many shapes are there?"] * 2
    texts = ["Red.", "Blue.", "No circle here.", "One.", "It is red."]
    got = reward(prompts=prompts, completions=texts)
    raw = [server.reward(*row) for row in zip(texts, prompts, strict=True)]
    expected = normal(raw, [0, 0, 0, 1, 1])
    assert (asyncio.run(got) if is_async else got) == pytest.approx(expected, abs=CLOSE)


def test_hybrid_without_a_column_of_answers_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="answer_column"):
        make_reward_func("http://nowhere", scheme=Scheme("hybrid"))


def test_pictures_of_columns_alone(url: str, server: Server) -> None:
    """Where the prompt has no blocks; a row may have none."""
    reward, images = make_reward_func(url), [shape("red"), shape("blue", "rectangle")]
    got = reward(prompts=["What?"] * 2, completions=["Red."] * 2, image=[images[0], None])
    expected = [server.reward("Red.", "What?", images[0]), server.reward("Red.", "What?")]
    assert got == pytest.approx(expected, abs=CLOSE)
    texts = [[{"role": "assistant", "content": "Red."}]] * 2
    got = reward(prompts=[ASKED] * 2, completions=texts, images=[images, []])
    expected = [server.reward("Red.", QUESTION, *images), server.reward("Red.", QUESTION)]
    assert got == pytest.approx(expected, abs=CLOSE)


def test_group_is_sent_as_one_item(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whose pictures are distinct objects of equal pixels, as TRL makes them."""
    sent: list[Any] = []
    score = RewardClient.score
    monkeypatch.setattr(
        RewardClient, "score", lambda own, items: sent.append(items) or score(own, items)
    )
    images: list[Image.Image] = [shape(colour) for colour in ("red", "red", "blue", "blue")]
    completions = [[{"role": "assistant", "content": text}] for text in "abcd"]
    make_reward_func(url)(prompts=[ASKED] * 4, completions=completions, image=images)
    assert [item["responses"] for item in sent[0]] == [["a", "b"], ["c", "d"]]


def test_several_turns_are_no_response(url: str) -> None:
    turns = [{"role": "assistant", "content": "Let me see."}, {"role": "tool", "content": "4"}]
    with pytest.raises(ValueError, match="several turns"):
        make_reward_func(url)(prompts=[ASKED], completions=[turns])


def test_a_column_of_another_name(url: str, server: Server) -> None:
    reward, images = make_reward_func(url, image_column="picture"), [shape("red"), [shape("blue")]]
    got = reward(prompts=["What?"] * 2, completions=["Red."] * 2, picture=images)
    expected = [
        server.reward("Red.", "What?", images[0]),
        server.reward("Red.", "What?", *images[1]),
    ]
    assert got == pytest.approx(expected, abs=CLOSE)
    with pytest.raises(ValueError, match=r"no column 'picture'; there are \['photo'\]"):
        reward(prompts=["What?"], completions=["Red."], photo=[images[0]])


class Kept(logging.Handler):
    """Of the client's own logger: trainers change what the others hand on."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


@pytest.fixture
def told_lines() -> Iterator[list[str]]:
    logger, kept = logging.getLogger("basereward_client"), Kept()
    level = logger.level
    logger.addHandler(kept)
    logger.setLevel(logging.INFO)
    yield kept.messages
    logger.removeHandler(kept)
    logger.setLevel(level)


def test_pictures_that_nobody_reads_are_told_of(url: str, told_lines: list[str]) -> None:
    """Scored without them, a red circle was blue, and nothing said so."""
    reward, told = make_reward_func(url), {}
    rows = {"prompts": ["What?"] * 2, "completions": ["Red."] * 2, "picture": [shape("red")] * 2}
    for _ in range(2):
        reward(**rows, log_metric=told.__setitem__)
    assert told_lines == [
        "0 of 2 rows have pictures",
        "the column 'picture' holds pictures that are not scored: name it with image_column",
    ]
    assert told["basereward/pictures"] == 0.0
    make_reward_func(url)(
        prompts=["What?"] * 2,
        completions=["Red."] * 2,
        image=[shape("red"), None],
        log_metric=told.__setitem__,
    )
    assert told["basereward/pictures"] == 1.0
