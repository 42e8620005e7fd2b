"""verl's own dataset, configuration and reward worker, up to the scores of a batch."""

from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from PIL import Image
from verl import DataProto
from verl.experimental.reward_loop.reward_loop import RewardLoopWorker
from verl.utils.dataset.rl_dataset import RLHFDataset

from basereward_client import BadRequest
from tests.trainers.conftest import CLOSE, QUESTION, Server, gap, png, shape, sigmoid
from tests.trainers.examples import FOLDER
from tests.trainers.policies import CHECKPOINT, processor, tokenizer

PROMPT_TOKENS, RESPONSE_TOKENS = 8, 12


def worker(name: str, **reward_kwargs: Any) -> RewardLoopWorker:
    """One of verl's eight, of an example's configuration, whose arguments may be replaced."""
    with initialize_config_dir(str(FOLDER), version_base=None):
        config = compose(name, overrides=[f"actor_rollout_ref.model.path={CHECKPOINT}"])
    holder = config.reward.custom_reward_function if name == "verl_function" else config.reward
    holder.reward_kwargs = reward_kwargs
    return RewardLoopWorker(config)


def rollouts(rows: list[dict[str, Any]], responses: list[str]) -> DataProto:
    """Rows of a dataset with what a policy wrote, padded as verl does."""
    tokens = torch.full((len(rows), RESPONSE_TOKENS), 901)
    mask = torch.zeros(len(rows), PROMPT_TOKENS + RESPONSE_TOKENS, dtype=torch.long)
    mask[:, PROMPT_TOKENS - 2 : PROMPT_TOKENS] = 1
    for i, text in enumerate(responses):
        ids = tokenizer()(text + "<|im_end|>")["input_ids"]
        tokens[i, : len(ids)] = torch.tensor(ids)
        mask[i, PROMPT_TOKENS : PROMPT_TOKENS + len(ids)] = 1
    prompts = torch.full((len(rows), PROMPT_TOKENS), 901)
    columns = {}
    for key in ("raw_prompt", "reward_model", "data_source", "extra_info"):
        columns[key] = np.empty(len(rows), dtype=object)
        columns[key][:] = [row[key] for row in rows]
    tensors = {"prompts": prompts, "responses": tokens, "attention_mask": mask}
    return DataProto.from_dict(tensors=tensors, non_tensors=columns)


def rows_of(images: list[list[Image.Image]], question: str, folder: Path) -> list[dict[str, Any]]:
    """As verl's dataset reads them from a file; the pictures go into `raw_prompt`."""
    stored = [
        {
            "prompt": [{"role": "user", "content": "<image>" * len(own) + question}],
            "images": [{"bytes": png(image), "path": None} for image in own],
            "data_source": "shapes",
            "reward_model": {"style": "model", "ground_truth": "red"},
            "extra_info": {"index": i, "question": question},
        }
        for i, own in enumerate(images)
    ]
    file = folder / "rows.parquet"
    datasets.Dataset.from_list(stored).to_parquet(file)
    config = compose_data(folder)
    return [dict(row) for row in RLHFDataset(str(file), tokenizer(), config, processor())]


def compose_data(folder: Path) -> Any:
    with initialize_config_dir(str(FOLDER), version_base=None):
        overrides = [f"+data.cache_dir={folder}", "data.filter_overlong_prompts=false"]
        return compose("verl_manager", overrides=overrides).data


def scored(worker: RewardLoopWorker, data: DataProto) -> list[dict[str, Any]]:
    """On the worker's loop, as in Ray."""
    results: list[dict[str, Any]] = worker.loop.run_until_complete(worker.compute_score_batch(data))
    return results


def test_manager_scores_the_pictures_of_the_dataset(server: Server, tmp_path: Path) -> None:
    images = [[shape("red")], [shape("blue")], [shape("red"), shape("blue", "rectangle")], []]
    rows = rows_of(images, QUESTION, tmp_path)
    responses = ["It is red.", "It is red.", "It is blue, as I see it.", "It is red."]
    results = scored(worker("verl_manager", url=server.url), rollouts(rows, responses))
    pairs = zip(responses, images, strict=True)
    expected = [server.reward(text, QUESTION, *own) for text, own in pairs]
    assert [result["reward_score"] for result in results] == pytest.approx(expected, abs=CLOSE)
    assert gap(expected) > 2 * CLOSE
    assert [result["reward_extra_info"] for result in results] == [
        {"raw_score": result["reward_score"]} for result in results
    ]


def test_manager_takes_its_settings_from_the_example(server: Server, tmp_path: Path) -> None:
    """All but the URL, which says another port."""
    with initialize_config_dir(str(FOLDER), version_base=None):
        given = compose("verl_manager").reward.reward_kwargs
    rows = rows_of([[shape("red")]], QUESTION, tmp_path)
    own = worker("verl_manager", **dict(given) | {"url": server.url})
    (result,) = scored(own, rollouts(rows, ["It is red."]))
    score = server.reward("It is red.", QUESTION, shape("red"))
    assert result["reward_extra_info"]["raw_score"] == pytest.approx(score, abs=CLOSE)
    assert result["reward_score"] == pytest.approx(sigmoid(score / 2.0), abs=CLOSE)


def test_manager_judges_the_last_sequence_of_a_rollout(server: Server, tmp_path: Path) -> None:
    own = worker("verl_manager", url=server.url)
    data = rollouts(rows_of([[], []], QUESTION, tmp_path), ["It is red.", "It is blue."])
    result = own.loop.run_until_complete(own.reward_manager.run_single(data))
    first, last = (server.reward(text, QUESTION) for text in ("It is red.", "It is blue."))
    assert result["reward_score"] == pytest.approx(last, abs=CLOSE)
    assert gap([first, last]) > 2 * CLOSE


def test_manager_reads_files(server: Server, tmp_path: Path) -> None:
    """Rows that name their pictures' files on the training node."""
    (tmp_path / "a picture.png").write_bytes(png(shape("red")))
    turns = [{"role": "user", "content": [None, {"type": "text", "text": QUESTION}]}]
    row = rows_of([[]], QUESTION, tmp_path)[0]
    expected = server.reward("It is red.", QUESTION, shape("red"))
    manager = worker("verl_manager", url=server.url)
    for named in (str(tmp_path / "a picture.png"), f"file://{tmp_path}/a%20picture.png"):
        turns[0]["content"][0] = {"type": "image", "image": named}  # type: ignore[index]
        (result,) = scored(manager, rollouts([row | {"raw_prompt": turns}], ["It is red."]))
        assert result["reward_score"] == pytest.approx(expected, abs=CLOSE)


def test_function(server: Server, tmp_path: Path) -> None:
    """Loaded from the package, through verl's naive manager, as an `async def`."""
    rows = rows_of([[]] * 4, QUESTION, tmp_path)
    image = {"bytes": png(shape("red")), "path": None}
    told: list[dict[str, Any]] = [
        {"question": QUESTION},
        {"prompt": QUESTION, "image": image},
        {"prompt": f"<image>\n{QUESTION}", "images": [image]},
        {"prompt": [{"role": "user", "content": QUESTION}], "images": [shape("red")]},
    ]
    rows = [row | {"extra_info": info} for row, info in zip(rows, told, strict=True)]
    own = worker("verl_function", url=server.url)
    results = scored(own, rollouts(rows, ["It is red."] * 4))
    turns = [{"role": "user", "content": f"\n{QUESTION}"}]
    with_picture = server.reward("It is red.", QUESTION, shape("red"))
    expected = [
        server.reward("It is red.", QUESTION),
        with_picture,
        server.reward("It is red.", turns[0]["content"], shape("red")),
        with_picture,
    ]
    assert [result["reward_score"] for result in results] == pytest.approx(expected, abs=CLOSE)


@pytest.mark.parametrize("name", ["verl_function", "verl_manager"])
def test_hybrid_scheme(name: str, server: Server, tmp_path: Path) -> None:
    answers = ["red", "blue", "blue"]
    rows = [
        row | {"reward_model": {"style": "model", "ground_truth": answer}}
        for row, answer in zip(rows_of([[]] * 3, QUESTION, tmp_path), answers, strict=True)
    ]
    own = worker(name, url=server.url, scheme="hybrid")
    results = scored(own, rollouts(rows, ["Red.", "Blue.", "Red."]))
    wrong = pytest.approx(sigmoid(server.reward("Red.", QUESTION)), abs=CLOSE)
    assert [result["reward_score"] for result in results] == [1, 1, wrong]


def test_function_never_scores_blind(url: str, tmp_path: Path) -> None:
    row = rows_of([[]], QUESTION, tmp_path)[0]
    row["extra_info"] = {"question": f"<image>{QUESTION}"}
    with pytest.raises(ValueError, match="1 pictures stand in the turns, 0 were given"):
        scored(worker("verl_function", url=url), rollouts([row], ["Red."]))


def test_failure_raises(url: str, tmp_path: Path) -> None:
    rows = rows_of([[shape("red", size=300)]], QUESTION, tmp_path)
    with pytest.raises(BadRequest, match="image"):
        scored(worker("verl_manager", url=url), rollouts(rows, ["Red."]))
