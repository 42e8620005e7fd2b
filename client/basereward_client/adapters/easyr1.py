"""EasyR1: `worker.reward.reward_function=FILE.py:compute_score`, with `compute_score` imported into FILE.py.

EasyR1 passes no prompt and no picture. They stand in the dataset's answer column, as JSON:
`{"prompt": …, "image": … or "images": …, "answer": …}`; `<image>` in the prompt is a picture's place.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from basereward_client import Scheme
from basereward_client.adapters.scoring import RAW, client, scheme_of, shaped
from basereward_client.adapters.texts import described, grouped

REWARD_NAME = "basereward"
REWARD_TYPE = "batch"


def compute_score(
    reward_inputs: Sequence[Mapping[str, Any]],
    url: str | None = None,
    scheme: Scheme | str | Mapping[str, Any] = RAW,
    **settings: Any,
) -> list[dict[str, float | None]]:
    """The rewards of a whole rollout; `reward_function_kwargs` are `url`, `scheme` and the client's settings."""
    rows = [json.loads(row["ground_truth"]) for row in reward_inputs]
    texts = [row["response"] for row in reward_inputs]
    items, groups = grouped([described(row) for row in rows], texts)
    scores = [score for group in client(url, **settings).score(items) for score in group]
    answers = [row.get("answer") for row in rows]
    rewards = shaped(scheme_of(scheme), scores, texts, answers, groups)
    return [
        {"overall": reward, "raw_score": score}
        for reward, score in zip(rewards, scores, strict=True)
    ]
