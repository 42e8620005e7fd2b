"""Trainers that cannot be installed from a registry: recordings of what they send, played to the real server.

Each file under wires/ says what was recorded, of which version. Nothing here shows that such a trainer runs.
"""

import asyncio
import json
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from basereward_client import Scheme
from basereward_client.adapters import easyr1, slime
from tests.trainers.conftest import CLOSE, QUESTION, Server, normal, png, shape, sigmoid
from tests.trainers.examples import example

WIRES = Path(__file__).with_name("wires")


def played(server: Server, name: str) -> tuple[dict[str, Any], Any]:
    """What the trainer sent, and what the server answers to it."""
    wire = json.loads((WIRES / f"{name}.json").read_text("utf-8"))
    assert wire["about"].startswith("A recording")
    return wire["body"], server.post(wire["path"], wire["body"])


@pytest.mark.parametrize("name", ["lmm_r1", "openrlhf_m", "r1_reward"])
def test_trainers_that_post_to_get_reward(name: str, server: Server) -> None:
    _, answer = played(server, name)
    expected = [
        server.reward("It is red.", QUESTION, shape("red")),
        server.reward("It is blue, as I see it.", QUESTION, shape("red")),
        server.reward("It is red.", QUESTION),
    ]
    assert answer["rewards"] == pytest.approx(expected, abs=CLOSE)
    # OpenRLHF-M makes a tensor of every key and trains on it.
    assert all(value == answer["rewards"] for value in answer.values())


def test_slime_remote_rm(server: Server) -> None:
    _, answer = played(server, "slime_templated")
    assert answer == pytest.approx(server.reward("It is red.", QUESTION), abs=CLOSE)
    _, answer = played(server, "slime_turns")
    assert answer == pytest.approx(server.reward("It is red.", QUESTION, shape("red")), abs=CLOSE)


def test_nemo_gym(server: Server) -> None:
    sent, answer = played(server, "nemo_gym")
    assert answer["reward"] == pytest.approx(nemo_gym_reward(server), abs=CLOSE)
    assert {key: answer[key] for key in sent} == sent  # it echoes the rollout


def nemo_gym_reward(server: Server) -> float:
    (_, wire) = json.loads((WIRES / "nemo_gym.json").read_text("utf-8"))["body"][
        "responses_create_params"
    ]["input"]
    text, image = wire["content"]
    turns = [
        {"role": "system", "content": "Be brief."},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": text["text"]},
                {"type": "image_url", "image_url": {"url": image["image_url"]}},
            ],
        },
    ]
    return server.reward("It is red.", turns)


def slime_sample(
    prompt: Any, response: str, *images: Any, label: Any = "red", group: int = 0
) -> Any:
    """The fields of slime.utils.types.Sample that a reward function meets."""
    return SimpleNamespace(
        prompt=prompt,
        response=response,
        label=label,
        group_index=group,
        multimodal_inputs={"images": list(images) or None, "videos": None},
    )


def templated(shown: str) -> str:
    system = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
    return f"{system}<|im_start|>user\n{shown}{QUESTION}<|im_end|>\n<|im_start|>assistant\n"


def test_slime_function(server: Server) -> None:
    """One sample, and a group of them as with --group-rm."""
    pad = "<|vision_start|><|image_pad|><|vision_end|>"
    turns = [
        {
            "role": "user",
            "content": [
                {"type": "image", "image": shape("red")},
                {"type": "text", "text": QUESTION},
            ],
        }
    ]
    samples = [
        slime_sample(templated(pad), "It is red.<|im_end|>", shape("red")),
        slime_sample(turns, "It is red.<|im_end|>", shape("red")),
        slime_sample(templated(""), "It is red.<|im_end|>"),
        slime_sample(QUESTION, "It is red."),
    ]
    with_picture = server.reward("It is red.", QUESTION, shape("red"))
    without = server.reward("It is red.", QUESTION)
    expected = [with_picture, with_picture, without, without]
    assert asyncio.run(slime.reward(None, samples)) == pytest.approx(expected, abs=CLOSE)
    alone = [asyncio.run(slime.reward(None, sample)) for sample in samples]
    assert alone == pytest.approx(expected, abs=CLOSE)


def test_slime_example(url: str, server: Server) -> None:
    samples = [slime_sample(templated(""), text) for text in ("Red.<|im_end|>", "It is blue.")]
    right, wrong = asyncio.run(example("slime_reward.py").reward(None, samples, evaluation=False))
    assert right == 1
    assert wrong == pytest.approx(sigmoid(server.reward("It is blue.", QUESTION)), abs=CLOSE)


def test_slime_labels_are_each_samples_own(url: str, server: Server) -> None:
    rows = [("Red.", "red"), ("Blue.", "blue"), ("Red.", "blue")]
    samples = [slime_sample(QUESTION, text, label=label) for text, label in rows]
    rewards = asyncio.run(slime.make_reward(scheme=Scheme("hybrid"))(None, samples))
    wrong = sigmoid(server.reward("Red.", QUESTION))
    assert rewards == [1, 1, pytest.approx(wrong, abs=CLOSE)]


@pytest.mark.parametrize("label", [0, 0.0])
def test_a_label_of_nought_is_an_answer(url: str, label: Any) -> None:
    reward = slime.make_reward(scheme=Scheme("hybrid"))
    sample = slime_sample(QUESTION, str(label), label=label)
    assert asyncio.run(reward(None, sample)) == 1


@pytest.mark.parametrize("label", [None, "", " "])
def test_to_say_nothing_is_no_right_answer(url: str, server: Server, label: Any) -> None:
    reward = slime.make_reward(scheme=Scheme("hybrid"))
    sample = slime_sample(QUESTION, "<answer></answer>", label=label)
    expected = sigmoid(server.reward("<answer></answer>", QUESTION))
    assert asyncio.run(reward(None, sample)) == pytest.approx(expected, abs=CLOSE)


def test_slime_normalises_groups_only(url: str, server: Server) -> None:
    reward = slime.make_reward(scheme=Scheme(normalise_groups=True))
    texts = ["Red.", "No circle here.", "It is blue.", "It is red.", "Yellow!"]
    groups = [3, 7, 3, 7, 3]
    rows = zip(texts, groups, strict=True)
    samples = [slime_sample(QUESTION, text, group=group) for text, group in rows]
    expected = normal([server.reward(text, QUESTION) for text in texts], groups)
    assert asyncio.run(reward(None, samples)) == pytest.approx(expected, abs=CLOSE)
    with pytest.raises(ValueError, match="groups"):
        asyncio.run(reward(None, samples[0]))


def test_easyr1(server: Server, tmp_path: Path) -> None:
    """As verl/workers/reward/function.py calls it (github.com/hiyouga/EasyR1 at b44b311b): a recording by hand."""
    (tmp_path / "red.png").write_bytes(png(shape("red")))
    module = example("easyr1_reward.py")
    assert (module.REWARD_NAME, module.REWARD_TYPE) == ("basereward", "batch")
    rows = [
        {"problem": f"<image>{QUESTION}", "path": str(tmp_path / "red.png"), "answer": "red"},
        {"problem": QUESTION, "path": None, "answer": "red"},
    ]
    texts = ["Red.", "It is blue."]
    inputs = [
        {
            "response": text,
            "response_length": 4,
            "ground_truth": module.with_context(row)["answer"],
        }
        for row in rows
        for text in texts
    ]
    reward_fn = partial(module.compute_score, url=server.url, scheme="hybrid")
    scores = reward_fn(inputs)
    raw = [server.reward(t, QUESTION, *own) for own in ((shape("red"),), ()) for t in texts]
    assert [score["raw_score"] for score in scores] == pytest.approx(raw, abs=CLOSE)
    expected = [1.0, sigmoid(raw[1]), 1.0, sigmoid(raw[3])]
    assert [score["overall"] for score in scores] == pytest.approx(expected, abs=CLOSE)


def easyr1_input(response: str, **told: Any) -> dict[str, Any]:
    return {"response": response, "ground_truth": json.dumps(told)}


def test_easyr1_answers_are_each_rows_own(server: Server) -> None:
    rows = [("Red.", "red"), ("Blue.", "blue"), ("Red.", "blue")]
    inputs = [easyr1_input(text, prompt=QUESTION, answer=answer) for text, answer in rows]
    rewards = [one["overall"] for one in easyr1.compute_score(inputs, server.url, "hybrid")]
    wrong = sigmoid(server.reward("Red.", QUESTION))
    assert rewards == [1, 1, pytest.approx(wrong, abs=CLOSE)]


def test_easyr1_normalises_groups_that_its_balancing_has_parted(server: Server) -> None:
    other = "How many shapes are there?"
    rows = [(QUESTION, "Red."), (other, "One."), (QUESTION, "Blue."), (other, "It is red.")]
    rows.append((QUESTION, "No circle here."))
    inputs = [easyr1_input(text, prompt=prompt) for prompt, text in rows]
    scheme = {"kind": "raw", "normalise_groups": True}
    rewards = [one["overall"] for one in easyr1.compute_score(inputs, server.url, scheme)]
    raw = [server.reward(text, prompt) for prompt, text in rows]
    assert rewards == pytest.approx(normal(raw, [0, 1, 0, 1, 0]), abs=CLOSE)


def test_easyr1_says_what_it_needs(url: str) -> None:
    for truth in ("red", "4", None):
        with pytest.raises(ValueError, match=r"data\.answer_key"):
            easyr1.compute_score([{"response": "Red.", "ground_truth": truth}], url)
    with pytest.raises(KeyError, match="answer"):
        easyr1.compute_score([easyr1_input("Red.", prompt=QUESTION)], url, "hybrid")
