"""TRL's own trainers take steps on rewards that the server gave, and on no other numbers."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset, Features, List, Value
from datasets import Image as ImageColumn
from trl import GRPOConfig, GRPOTrainer, RLOOConfig, RLOOTrainer
from trl.trainer.utils import is_async_callable

from basereward_client import BadRequest
from basereward_client.adapters.trl import make_reward_func
from tests.trainers.conftest import CLOSE, QUESTION, Server, gap, shape, sigmoid, uri
from tests.trainers.examples import example
from tests.trainers.policies import processor, text_policy, tokenizer, vision_policy

GROUP = 4
COLOURS = ("red", "blue", "green", "orange")
TEXT = Dataset.from_dict({"prompt": [f"Say something {c}." for c in COLOURS]})


def asked() -> list[dict[str, Any]]:
    return [{"role": "user", "content": "What colour is the shape?"}]


def with_column() -> Dataset:
    rows = [{"prompt": asked(), "image": shape(colour)} for colour in COLOURS]
    return Dataset.from_list(rows).cast_column("image", ImageColumn())


def with_blocks() -> Dataset:
    """The pictures' places stand in the prompt, of two turns; Arrow fills their missing keys with nulls."""
    blocks = [{"type": "image", "text": None}, {"type": "text", "text": QUESTION}]
    system = [{"type": "text", "text": "Be brief."}]
    turns = [{"role": "system", "content": system}, {"role": "user", "content": blocks}]
    rows = [{"prompt": turns, "images": [shape(colour)]} for colour in COLOURS]
    part = {"type": Value("string"), "text": Value("string")}
    turn = {"role": Value("string"), "content": List(part)}
    return Dataset.from_list(rows, Features({"prompt": List(turn), "images": List(ImageColumn())}))


def with_two() -> Dataset:
    rows = [{"prompt": asked(), "images": [shape(c), shape(c, "rectangle")]} for c in COLOURS]
    return Dataset.from_list(rows).cast_column("images", List(ImageColumn()))


def options(kind: type, folder: Path, **more: Any) -> Any:
    return kind(
        output_dir=str(folder),
        num_generations=GROUP,
        per_device_train_batch_size=2 * GROUP,
        max_completion_length=8,
        max_steps=2,
        logging_steps=1,
        report_to="none",
        save_strategy="no",
        use_cpu=True,
        beta=0.0,  # without a reference model, which RLOO would load by its name
        bf16=False,
        **more,
    )


def recording(function: Any) -> tuple[Any, list[tuple[dict[str, Any], list[float | None]]]]:
    """The same function; and what it was given and answered each time."""
    seen: list[tuple[dict[str, Any], list[float | None]]] = []

    class Blocking(type(function)):  # type: ignore[misc]
        def __call__(self, **columns: Any) -> Any:
            rewards = super().__call__(**columns)
            seen.append((columns, rewards))
            return rewards

    class Awaited(type(function)):  # type: ignore[misc]
        async def __call__(self, **columns: Any) -> Any:
            rewards = await super().__call__(**columns)
            seen.append((columns, rewards))
            return rewards

    function.__class__ = Awaited if is_async_callable(function) else Blocking
    return function, seen


def reward_of(server: Server, prompt: Any, completion: Any) -> float:
    """Of one row, asked for by plain HTTP."""
    if isinstance(prompt, str):
        return server.reward(completion, prompt)
    turns = [{"role": turn["role"], "content": parts_of(turn["content"])} for turn in prompt]
    return server.reward(completion[0]["content"], turns)


def parts_of(content: Any) -> Any:
    if isinstance(content, str):
        return content
    return [
        {"type": "image", "image": uri(part["image"])}
        if part["type"] == "image"
        else {"type": "text", "text": part["text"]}
        for part in content
    ]


def check(
    trainer: Any,
    seen: list[Any],
    server: Server,
    pictures: int,
    scheme: Callable[[float], float] = float,
) -> None:
    """Two steps were taken, each on the server's rewards for the rows it rolled out."""
    trainer.train()
    logs = [line for line in trainer.state.log_history if "reward" in line]
    assert trainer.state.global_step == len(seen) == len(logs) == 2
    for (columns, rewards), log in zip(seen, logs, strict=True):
        rows = list(zip(columns["prompts"], columns["completions"], strict=True))
        assert len(rows) == 2 * GROUP
        assert all(str(row).count("'image':") == pictures for row, _ in rows)
        expected = [scheme(reward_of(server, *row)) for row in rows]
        assert rewards == pytest.approx(expected, abs=CLOSE)
        assert gap(expected) > 2 * CLOSE
        assert log["rewards/basereward/mean"] == pytest.approx(sum(expected) / len(rows), abs=CLOSE)
        assert 0 < log["basereward/forward_s"] < log["basereward/total_s"]


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("kind", [GRPOTrainer, RLOOTrainer])
def test_text(kind: Any, is_async: bool, url: str, server: Server, tmp_path: Path) -> None:
    reward, seen = recording(make_reward_func(url, is_async=is_async))
    assert is_async_callable(reward) == is_async
    args = options(GRPOConfig if kind is GRPOTrainer else RLOOConfig, tmp_path)
    trainer = kind(
        text_policy(), reward, args=args, train_dataset=TEXT, processing_class=tokenizer()
    )
    check(trainer, seen, server, pictures=0)


@pytest.mark.parametrize(
    ("kind", "dataset", "is_async", "pictures"),
    [
        (GRPOTrainer, with_column, False, 1),
        (GRPOTrainer, with_blocks, True, 1),
        (GRPOTrainer, with_two, True, 2),
        (RLOOTrainer, with_column, True, 1),
        (RLOOTrainer, with_two, False, 2),
    ],
)
def test_pictures(
    kind: Any, dataset: Any, is_async: bool, pictures: int, server: Server, tmp_path: Path
) -> None:
    reward, seen = recording(make_reward_func(server.url, is_async=is_async))
    args = options(GRPOConfig if kind is GRPOTrainer else RLOOConfig, tmp_path)
    policy, own = vision_policy(), processor()
    trainer = kind(policy, reward, args=args, train_dataset=dataset(), processing_class=own)
    check(trainer, seen, server, pictures)


def test_example(server: Server, tmp_path: Path) -> None:
    trainer = example("trl_grpo.py").make_trainer(
        vision_policy(),
        with_column(),
        options(GRPOConfig, tmp_path),
        server.url,
        processing_class=processor(),
    )
    _, seen = recording(trainer.reward_funcs[0])
    check(trainer, seen, server, pictures=1, scheme=lambda score: sigmoid(score / 2.0))


def too_large() -> Dataset:
    """Every second picture is one that no server scores."""
    return with_column().map(
        lambda row, i: {"image": shape("red", size=300)} if i % 2 else row, with_indices=True
    )


def test_bad_row_is_left_out(server: Server, tmp_path: Path) -> None:
    reward, seen = recording(make_reward_func(server.url, on_error="none"))
    args = options(GRPOConfig, tmp_path)
    GRPOTrainer(
        vision_policy(), reward, args=args, train_dataset=too_large(), processing_class=processor()
    ).train()
    rewards = [reward for _, answered in seen for reward in answered]
    assert rewards == [own for columns, _ in seen for own in unless_large(server, columns)]
    assert len(rewards) == 4 * GROUP
    assert rewards.count(None) == 2 * GROUP


def unless_large(server: Server, columns: dict[str, Any]) -> list[Any]:
    rows = zip(columns["prompts"], columns["completions"], columns["image"], strict=True)
    return [
        None
        if image.size == (300, 300)
        else pytest.approx(reward_of(server, prompt, completion), abs=CLOSE)
        for prompt, completion, image in rows
    ]


def test_bad_row_ends_training(url: str, tmp_path: Path) -> None:
    trainer = GRPOTrainer(
        vision_policy(),
        make_reward_func(url),
        args=options(GRPOConfig, tmp_path),
        train_dataset=too_large(),
        processing_class=processor(),
    )
    with pytest.raises(BadRequest) as error:
        trainer.train()
    assert error.value.code == "image_too_large"
