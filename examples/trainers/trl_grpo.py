"""TRL: GRPO of a vision-language model on the rewards of a server.

The dataset has the columns `prompt` (chat turns) and `image`. RLOOTrainer takes the same function.
"""

from typing import Any

from trl import GRPOConfig, GRPOTrainer

from basereward_client import Scheme
from basereward_client.adapters.trl import make_reward_func


def make_trainer(
    model: Any, dataset: Any, args: GRPOConfig, url: str = "http://127.0.0.1:8000", **more: Any
) -> GRPOTrainer:
    reward = make_reward_func(
        url,
        scheme=Scheme("sigmoid", temperature=2.0),  # or "hybrid", with answer_column="solution"
        expect_fingerprint="first",  # one reward function for the whole run
    )
    return GRPOTrainer(model, reward, args=args, train_dataset=dataset, **more)


def main(dataset: Any) -> None:
    args = GRPOConfig("grpo", num_generations=8, max_completion_length=512)
    make_trainer("Qwen/Qwen2.5-VL-3B-Instruct", dataset, args).train()
