"""OpenRLHF's own executors, with an engine that writes what it is told: HTTP, retries and `execute` are theirs."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
import torch
from openrlhf.utils.agent import AgentExecutorBase, SingleTurnAgentExecutor

from basereward_client import BadRequest, Scheme
from basereward_client.adapters import openrlhf
from tests.trainers.conftest import CLOSE, QUESTION, Server, gap, png, shape, sigmoid, uri
from tests.trainers.examples import FOLDER, example
from tests.trainers.policies import processor, tokenizer

COLOURS = ("red", "blue", "green", "black", "white", "grey", "brown", "pink")
FORMS = (
    "{}",
    "It is {}.",
    "No {} here.",
    "I see {}, not more.",
    "Perhaps {}?",
    "What {}!",
    "A very {} one, as I see it.",
    "Not {}",
)


class Engine:
    """Writes this text, end token included, as vLLM's wrapper answers it."""

    def __init__(self, text: str) -> None:
        self.text = text

    async def generate(self, ids: list[int], params: Any, multi_modal_data: Any = None) -> Any:
        written = tokenizer()(self.text + "<|im_end|>")["input_ids"]
        output = SimpleNamespace(token_ids=written, text=self.text, finish_reason="stop")
        return SimpleNamespace(outputs=[output])


def templated(question: str, pictures: int = 0, history: tuple[str, ...] = ()) -> str:
    content = [{"type": "image"}] * pictures + [{"type": "text", "text": question}]
    said = [
        {"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(history)
    ]
    turns = [*said, {"role": "user", "content": content}]
    text: str = tokenizer().apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    return text


def executed(
    executor: AgentExecutorBase, prompt: str, text: str, label: Any = "", images: Any = None
) -> dict[str, Any]:
    params = SimpleNamespace(max_tokens=64, logprobs=None)
    own = tokenizer() if images is None else processor()
    work = executor.execute(prompt, label, params, 512, own, Engine(text), images)
    output: dict[str, Any] = asyncio.run(work)
    return output


def reward_in(output: dict[str, Any]) -> float:
    """As OpenRLHF's sample generator makes a tensor of it."""
    return float(torch.tensor([output["reward"]]).flatten()[0])


def test_remote_url(server: Server) -> None:
    executor = SingleTurnAgentExecutor(f"{server.url}/get_reward")
    for text in ("It is red.", "It is blue.", ""):
        output = executed(executor, templated(QUESTION), text)
        assert reward_in(output) == pytest.approx(server.reward(text, QUESTION), abs=CLOSE)
        assert output["scores"] == output["reward"]


def test_remote_url_with_all_rollouts_at_once(server: Server) -> None:
    executor = SingleTurnAgentExecutor([f"{server.url}/get_reward"] * 2)
    texts = [form.format(colour) for form in FORMS for colour in COLOURS]
    params = SimpleNamespace(max_tokens=64, logprobs=None)
    prompt, own = templated(QUESTION), tokenizer()

    async def rollouts() -> Any:
        engines = [Engine(text) for text in texts]
        return await asyncio.gather(
            *(executor.execute(prompt, "", params, 512, own, engine) for engine in engines)
        )

    rewards = [reward_in(output) for output in asyncio.run(rollouts())]
    expected = [server.reward(text, QUESTION) for text in texts]
    assert gap(expected) > 2 * CLOSE
    assert rewards == pytest.approx(expected, abs=CLOSE)


def test_remote_url_with_the_picture_in_the_label(server: Server) -> None:
    image = shape("red")
    executor = SingleTurnAgentExecutor(f"{server.url}/get_reward?image_from=labels")
    output = executed(executor, templated(QUESTION), "It is red.", label=uri(image))
    assert reward_in(output) == pytest.approx(
        server.reward("It is red.", QUESTION, image), abs=CLOSE
    )


@contextmanager
def unwilling(url: str, refusals: int) -> Iterator[tuple[str, list[int]]]:
    """A gateway that answers 503 so many times before it passes requests on."""
    statuses: list[int] = []

    class Gateway(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status, content = 503, b"{}"
            if len(statuses) >= refusals:
                answer = httpx.post(url + self.path, content=body)
                status, content = answer.status_code, answer.content
            statuses.append(status)
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            """Silent."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Gateway) as gateway:
        Thread(target=gateway.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{gateway.server_port}", statuses
        gateway.shutdown()


def test_remote_url_is_tried_again(server: Server) -> None:
    with unwilling(server.url, refusals=2) as (url, statuses):
        output = executed(
            SingleTurnAgentExecutor(f"{url}/get_reward"), templated(QUESTION), "It is red."
        )
    assert statuses == [503, 503, 200]
    assert reward_in(output) == pytest.approx(server.reward("It is red.", QUESTION), abs=CLOSE)


def test_function(server: Server) -> None:
    executor = SingleTurnAgentExecutor(str(FOLDER / "openrlhf_reward.py"))
    right = executed(executor, templated(QUESTION), "Red", label="red")
    assert reward_in(right) == 1
    wrong = executed(executor, templated(QUESTION), "It is blue.", label="red")
    score = server.reward("It is blue.", QUESTION)
    assert reward_in(wrong) == pytest.approx(sigmoid(score), abs=CLOSE)
    assert float(wrong["extra_logs"]["raw_score"]) == pytest.approx(score, abs=CLOSE)


def test_function_of_several_rows(server: Server) -> None:
    questions = [QUESTION, "What shape is it?", "How many are there?"]
    texts, labels = ["Red.", "Round.", "One."], ["red", "round", "two"]
    prompts = [templated(question) for question in questions]
    queries = [f"{prompt}{text}<|im_end|>" for prompt, text in zip(prompts, texts, strict=True)]
    function = openrlhf.make_reward_func(server.url, scheme=Scheme("hybrid"))
    answer = function(queries, prompts, labels)
    raw = [server.reward(*row) for row in zip(texts, questions, strict=True)]
    assert answer["rewards"].tolist() == pytest.approx([1, 1, sigmoid(raw[2])], abs=CLOSE)
    assert answer["extra_logs"]["raw_score"].tolist() == pytest.approx(raw, abs=CLOSE)
    assert gap(raw) > 2 * CLOSE


def test_function_keeps_earlier_turns(server: Server) -> None:
    history = ("Hello.", "Good day.")
    turns = [
        {"role": "user", "content": "Hello."},
        {"role": "assistant", "content": "Good day."},
        {"role": "user", "content": QUESTION},
    ]
    prompt = templated(QUESTION, history=history)
    answer = openrlhf.reward_func([prompt + "Red.<|im_end|>\n<|endoftext|>"], [prompt], [""])
    assert answer["rewards"].tolist() == [pytest.approx(server.reward("Red.", turns), abs=CLOSE)]


def test_function_never_scores_blind(url: str) -> None:
    prompt = templated(QUESTION, pictures=1)
    with pytest.raises(ValueError, match="1 pictures stand in the turns, 0 were given"):
        openrlhf.reward_func([prompt + "Red."], [prompt], [""])


def kinds_of(image: Any, folder: Path) -> list[Any]:
    """The forms in which a dataset can hold a picture for OpenRLHF."""
    path = folder / "picture.png"
    path.write_bytes(png(image))
    data = uri(image)
    return [image, png(image), str(path), data, data.partition(",")[2], [image], [None, image]]


def test_agent_sees_pictures(server: Server, tmp_path: Path) -> None:
    image = shape("red")
    executor = example("openrlhf_agent.py").AgentExecutor()
    assert isinstance(executor, AgentExecutorBase)
    score = server.reward("It is red.", QUESTION, image)
    assert score != pytest.approx(server.reward("It is red.", QUESTION, shape("blue")), abs=0.1)
    for images in kinds_of(image, tmp_path):
        output = executed(executor, templated(QUESTION, 1), "It is red.", images=images)
        assert output["extra_logs"]["raw_score"] == pytest.approx(score, abs=CLOSE)
        assert reward_in(output) == pytest.approx(sigmoid(score), abs=CLOSE)
        assert output["mm_train_inputs"]["image_grid_thw"].tolist() == [[1, 4, 4]]


def test_agent_knows_the_answer(server: Server) -> None:
    executor = openrlhf.make_agent_executor(server.url, scheme=Scheme("hybrid"))()
    assert reward_in(executed(executor, templated(QUESTION), "Red.", label="red")) == 1
    wrong = executed(executor, templated(QUESTION), "Red.", label="blue")
    expected = sigmoid(server.reward("Red.", QUESTION))
    assert reward_in(wrong) == pytest.approx(expected, abs=CLOSE)


def test_agent_of_several_pictures_and_of_none(server: Server) -> None:
    executor = openrlhf.AgentExecutor()
    pair = [shape("red"), shape("blue", "rectangle")]
    output = executed(executor, templated(QUESTION, 2), "Red.", images=pair)
    assert reward_in(output) == pytest.approx(server.reward("Red.", QUESTION, *pair), abs=CLOSE)
    output = executed(executor, templated(QUESTION), "Red.")
    assert reward_in(output) == pytest.approx(server.reward("Red.", QUESTION), abs=CLOSE)


def test_agent_raises_where_the_url_loses_the_reward(server: Server) -> None:
    """OpenRLHF itself turns every failure of a URL into a reward of None."""
    small = shape("red", size=300)
    with pytest.raises(BadRequest, match="image"):
        executed(openrlhf.AgentExecutor(), templated(QUESTION, 1), "Red.", images=small)
