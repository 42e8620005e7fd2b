"""EasyR1: `worker.reward.reward_function=examples/trainers/easyr1_reward.py:compute_score`

EasyR1 passes neither prompt nor picture; `data.answer_key` names a column that holds both, and the answer, as JSON.
"""

import json
from typing import Any

from basereward_client.adapters.easyr1 import REWARD_NAME, REWARD_TYPE, compute_score

__all__ = ["REWARD_NAME", "REWARD_TYPE", "compute_score"]


def with_context(row: dict[str, Any]) -> dict[str, str]:
    """For `dataset.map`: the answer column of a row with `problem`, a picture's path and `answer`."""
    known = {"prompt": row["problem"], "image": row["path"], "answer": row["answer"]}
    return {"answer": json.dumps(known)}
