"""LLaMA-Factory's own call of a reward server, with the texts that its PPO trainer decodes."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.trainers.conftest import CLOSE, QUESTION, Server
from tests.trainers.examples import FOLDER
from tests.trainers.policies import tokenizer


@pytest.fixture(scope="module")
def get_rewards() -> Any:
    """Of its one file: the package around it imports torchaudio."""
    package = importlib.util.find_spec("llamafactory")
    assert package is not None
    assert package.origin is not None
    path = Path(package.origin).parent / "train" / "ppo" / "ppo_utils.py"
    spec = importlib.util.spec_from_file_location("llamafactory.train.ppo.ppo_utils", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.get_rewards_from_server


def decoded(text: str) -> str:
    """Prompt and response with their special tokens."""
    own = tokenizer()
    turns = [{"role": "user", "content": QUESTION}]
    prompt = own.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    ids = own(prompt)["input_ids"] + own(text + "<|im_end|>")["input_ids"]
    return str(own.decode(ids, skip_special_tokens=False))


def test_rewards(get_rewards: Any, server: Server) -> None:
    configured = yaml.safe_load((FOLDER / "llamafactory.yaml").read_text())["reward_model"]
    url = configured.replace("http://127.0.0.1:8000", server.url)
    texts = ["It is blue.", "It is red.", ""]
    rewards = get_rewards(url, [decoded(text) for text in texts])
    expected = [server.reward(text, QUESTION) for text in texts]
    assert rewards.tolist() == pytest.approx(expected, abs=CLOSE)


def test_text_that_cannot_be_told_apart_ends_training(get_rewards: Any, server: Server) -> None:
    with pytest.raises(KeyError, match="scores"):
        get_rewards(f"{server.url}/v1/score/evaluation", [f"{QUESTION} It is blue."])
