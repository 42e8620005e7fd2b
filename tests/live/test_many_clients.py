"""200 concurrent clients on the demo model: each gets its own right answers, and steps are real batches."""

import asyncio
import base64
import io
import random
import re

import httpx
import orjson
import pytest
from PIL import Image

from tests.live.raw import RawClient

pytestmark = pytest.mark.anyio

CLIENTS = 200
REQUESTS = 20
COLOURS = ("red", "blue", "green", "yellow", "purple", "orange")


def picture(colour: str) -> str:
    buffer = io.BytesIO()
    Image.new("RGB", (112, 112), colour).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def make_item(rng: random.Random) -> dict:
    """A single, a group, a picture or text alone, of mixed lengths."""
    words = [rng.choice(COLOURS) for _ in range(rng.randint(1, 12))]
    item = {"prompt": f"What is {' and '.join(words)}?"}
    if rng.random() < 0.5:
        item["image"] = picture(rng.choice(COLOURS))
    if rng.random() < 0.5:
        return item | {"response": f"It is {rng.choice(COLOURS)}."}
    return item | {
        "responses": [f"{c} {'very ' * rng.randint(0, 9)}" for c in COLOURS[: rng.randint(1, 4)]]
    }


def flat(answer: dict) -> list[float]:
    (rewards,) = answer["rewards"]
    return rewards if isinstance(rewards, list) else [rewards]


def counter(text: str, name: str) -> float:
    found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
    assert found, name
    return float(found[1])


async def test_everyone_gets_their_own_answers_in_real_batches(server, client):
    items = [make_item(random.Random(i)) for i in range(60)]
    known = [flat(client.post("/score", json={"items": [item]}).json()) for item in items]
    assert len({round(r, 4) for rewards in known for r in rewards}) > 60  # told apart
    before = client.get("/metrics").text

    async def one_client(number: int) -> int:
        rng = random.Random(1000 + number)
        wrong = 0
        async with RawClient(httpx.URL(server.url)) as http:
            for _ in range(REQUESTS):
                chosen = [rng.randrange(len(items)) for _ in range(rng.randint(1, 2))]
                answer = await http.score(orjson.dumps({"items": [items[i] for i in chosen]}))
                for i, rewards in zip(chosen, answer["rewards"], strict=True):
                    got = rewards if isinstance(rewards, list) else [rewards]
                    wrong += got != pytest.approx(known[i], abs=1e-4)
        return wrong

    wrong = await asyncio.gather(*(one_client(number) for number in range(CLIENTS)))
    assert sum(wrong) == 0
    after = client.get("/metrics").text

    def grown(name: str) -> float:
        return counter(after, name) - counter(before, name)

    responses = grown("basereward_batch_size_sum")
    assert responses == grown('basereward_items_total{outcome="scored"}')
    mean = responses / grown("basereward_batch_size_count")
    print(f"\nmean batch size {mean:.1f} over {responses:.0f} responses")  # noqa: T201
    assert mean > 4
