"""EasyR1: `worker.reward.reward_function=FILE.py:compute_score`, with `compute_score` imported into FILE.py.

EasyR1 passes no prompt and no picture. They stand in the dataset's answer column (`data.answer_key`), as JSON:
`{"prompt": …, "image": … or "images": …, "answer": …}`; `<image>` in the prompt is a picture's place.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from basereward_client import Scheme
from basereward_client.adapters.scoring import RAW, URL, client, scheme_of, shaped
from basereward_client.adapters.texts import described, grouped

REWARD_NAME = "basereward"
REWARD_TYPE = "batch"


def compute_score(
    reward_inputs: Sequence[Mapping[str, Any]],
    url: URL = None,
    scheme: Scheme | str | Mapping[str, Any] = RAW,
    **settings: Any,
) -> list[dict[str, float | None]]:
    """The rewards of a whole rollout; `reward_function_kwargs` are `url`, `scheme` and the client's settings."""
    form = scheme_of(scheme)
    truths = [row["ground_truth"] for row in reward_inputs]
    rows = [_told(truth) for truth in truths]
    texts = [row["response"] for row in reward_inputs]
    items, _ = grouped([described(row) for row in rows], texts)
    scores = [score for group in client(url, **settings).score(items) for score in group]
    answers = [row["answer"] for row in rows] if form.kind == "hybrid" else None
    # Siblings have been parted by then, to give each GPU as much to do.
    rewards = shaped(form, scores, texts, answers, groups=truths)
    return [
        {"overall": reward, "raw_score": score}
        for reward, score in zip(rewards, scores, strict=True)
    ]


def _told(truth: Any) -> dict[str, Any]:
    try:
        row = json.loads(truth)
    except (TypeError, ValueError):
        row = None
    if isinstance(row, dict):
        return row
    raise ValueError(
        "the answer column (data.answer_key) must hold JSON with a prompt, an image and an answer; "
        f"it holds {truth!r:.80}"
    )
