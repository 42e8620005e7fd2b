"""AReaL's own workflows and its pool of processes, with an engine that writes what it is told."""

import asyncio
import time
from typing import Any

import pytest
from areal.api import AsyncRewardWrapper, ModelResponse
from areal.api.cli_args import GenerationHyperparameters
from areal.workflow.rlvr import RLVRWorkflow
from areal.workflow.vision_rlvr import VisionRLVRWorkflow
from PIL import Image

from basereward_client import BadRequest, DeadlineExceeded, Scheme
from basereward_client.adapters import areal
from tests.trainers.conftest import CLOSE, QUESTION, Server, gap, shape, sigmoid
from tests.trainers.examples import example
from tests.trainers.policies import processor, tokenizer

BY_NAME = "basereward_client.adapters.areal.reward_fn"
GENERATION = GenerationHyperparameters(max_new_tokens=16)


class Engine:
    """Writes this text, end token included."""

    def __init__(self, text: str) -> None:
        self.written = tokenizer()(text + "<|im_end|>")["input_ids"]

    async def agenerate(self, request: Any) -> ModelResponse:
        count = len(self.written)
        return ModelResponse(request.input_ids, self.written, [0.0] * count, [0] * count)


def row_of(*images: Image.Image, **more: Any) -> dict[str, Any]:
    """As AReaL's datasets of pictures make it."""
    content = [*({"type": "image"} for _ in images), {"type": "text", "text": QUESTION}]
    text = tokenizer().apply_chat_template(
        [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
    )
    return {"messages": text, "images": list(images), **more}


def reward_of(workflow: RLVRWorkflow, row: dict[str, Any], text: str) -> float:
    episode = asyncio.run(workflow.arun_episode(Engine(text), row))
    return float(episode["rewards"][0])


def test_pictures_cross_the_pool_of_processes(server: Server) -> None:
    workflow = VisionRLVRWorkflow(BY_NAME, GENERATION, tokenizer(), processor(), False)
    for images in ([shape("red")], [shape("blue"), shape("red", "rectangle")]):
        reward = reward_of(workflow, row_of(*images), "It is red.")
        assert reward == pytest.approx(server.reward("It is red.", QUESTION, *images), abs=CLOSE)
    assert isinstance(workflow.async_reward_fn, AsyncRewardWrapper)


def test_text(server: Server) -> None:
    workflow = RLVRWorkflow(areal.reward_fn, GENERATION, tokenizer())
    row = {"messages": [{"role": "user", "content": QUESTION}]}
    reward = reward_of(workflow, row, "It is red.")
    assert reward == pytest.approx(server.reward("It is red.", QUESTION), abs=CLOSE)


def test_several_rollouts_at_once(server: Server) -> None:
    workflow = RLVRWorkflow(BY_NAME, GENERATION, tokenizer())
    row = {"messages": [{"role": "user", "content": QUESTION}]}
    kinds = ("circle", "square", "dog", "house")
    texts = [
        f"A {colour} {kind}." for colour in ("red", "blue", "green", "black") for kind in kinds
    ]

    async def episodes() -> Any:
        return await asyncio.gather(*(workflow.arun_episode(Engine(text), row) for text in texts))

    rewards = [float(episode["rewards"][0]) for episode in asyncio.run(episodes())]
    expected = [server.reward(text, QUESTION) for text in texts]
    assert gap(expected) > 2 * CLOSE
    assert rewards == pytest.approx(expected, abs=CLOSE)


def test_example(server: Server) -> None:
    """Beside the pool, in a hybrid scheme."""
    make = example("areal_workflow.py").make_workflow
    workflow = make(GENERATION, tokenizer(), processor(), server.url)
    row = row_of(shape("red"), answer="red")
    assert reward_of(workflow, row, "Red.") == 1
    wrong = sigmoid(server.reward("It is blue.", QUESTION, shape("red")))
    assert reward_of(workflow, row, "It is blue.") == pytest.approx(wrong, abs=CLOSE)


def test_hybrid_without_its_column_is_no_sigmoid(server: Server) -> None:
    row = row_of(shape("red"), solution="red")
    prompt = row.pop("messages")
    reward = areal.make_async_reward_fn(server.url, scheme=Scheme("hybrid"))
    with pytest.raises(KeyError, match="answer"):
        asyncio.run(reward(prompt, "Red.", [], [], **row))


def test_a_workflow_made_with_a_name_would_go_back_to_the_pool(server: Server) -> None:
    """So the adapter says to make it with the function: this is what it warns of."""
    for given, kept in ((areal.reward_fn, True), (BY_NAME, False)):
        workflow = VisionRLVRWorkflow(given, GENERATION, tokenizer(), processor(), False)
        own = areal.make_async_reward_fn(server.url)
        workflow.async_reward_fn = own
        reward_of(workflow, row_of(shape("red")), "Red.")
        assert (workflow.async_reward_fn is own) is kept


def test_failure_raises_and_is_no_number(url: str) -> None:
    """After the wrapper's own retries; the client's error crosses the pool."""
    row = row_of(shape("red", size=300))
    wrapper = AsyncRewardWrapper(areal.reward_fn)
    with pytest.raises(BadRequest, match="image"):
        asyncio.run(wrapper(row["messages"], "Red.<|im_end|>", [], [], images=row["images"]))


def test_unreachable_server_raises_before_the_pool_gives_zero() -> None:
    """The deadline is the client's own; a shorter one here, of a port where nothing listens."""
    reward = areal.make_async_reward_fn("http://127.0.0.1:9", timeout=0.2)
    with pytest.raises(DeadlineExceeded):
        asyncio.run(reward("Hello.", "Hi.", [], []))
    assert AsyncRewardWrapper(areal.reward_fn).timeout_seconds > areal.TIMEOUT_S


def test_function_of_the_pool_has_its_own_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the environment says."""
    monkeypatch.setenv("BASEREWARD_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("BASEREWARD_TIMEOUT_S", "60")
    monkeypatch.setattr(areal, "TIMEOUT_S", 0.2)
    begun = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        areal.reward_fn("Hello.", "Hi.", [], [])
    assert time.monotonic() - begun < 30
