"""What a server that has scored a run's group really shows: its /metrics, as names, labels and their values."""

import asyncio
from functools import cache

from prometheus_client.parser import text_string_to_metric_families

from tests.api.serving import served

Page = dict[str, dict[str, frozenset[str]]]
GROUP = {"prompt": "Is all well?", "responses": ["Yes.", "No."]}


@cache
def live_text() -> str:
    return asyncio.run(_scraped())


@cache
def live_page() -> Page:
    """Sample name → label → its values."""
    page: Page = {}
    for family in text_string_to_metric_families(live_text()):
        for sample in family.samples:
            labels = page.setdefault(sample.name, {})
            for label, value in sample.labels.items():
                labels[label] = labels.get(label, frozenset()) | {value}
    return page


async def _scraped() -> str:
    async with served() as server:
        await server.score(GROUP, headers={"X-Run": "a-run"})
        return (await server.client.get("/metrics")).text
