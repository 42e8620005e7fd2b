"""What docs/alerts.md tells somebody to type and to look for exists."""

import re

import pytest

from service.settings import Settings
from service.sources import ENV_PREFIX
from tests.monitoring import expressions
from tests.monitoring.page import live_page
from tests.monitoring.rules import FOREIGN, MONITORING, alerts, recorded

ROOT = MONITORING.parent
TEXT = (ROOT / "docs" / "alerts.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^### (\w+)$\n(.*?)(?=^##|\Z)", TEXT, re.MULTILINE | re.DOTALL))
QUERIES = re.findall(r"```promql\n(.*?)\n```", TEXT, re.DOTALL)
SOURCE = "\n".join(file.read_text() for file in sorted((ROOT / "service").rglob("*.py")))


@pytest.mark.parametrize("alert", [alert["alert"] for alert in alerts()])
def test_section_tells_what_to_do(alert):
    parts = re.findall(r"^\*\*(\w+)\*\*", SECTIONS[alert], re.MULTILINE)
    assert parts == ["Means", "Likely", "Look", "Do", "Worked"]


@pytest.mark.parametrize("query", QUERIES)
def test_query_asks_for_what_exists(query):
    tree = expressions.parse(query)
    assert expressions.names(tree) <= {*live_page(), *recorded(), *FOREIGN}
    assert not expressions.unknown_labels(tree, live_page())


def test_metrics_in_the_text_exist():
    known = {*live_page(), *recorded()}
    named = set(re.findall(r"(?:[a-z_]+:)?basereward_[a-z_]+(?::\w+)?", TEXT))
    assert named - known == {"basereward_failed"}  # what is grepped for


def test_log_lines_to_look_for_are_written():
    patterns = re.findall(r'"message": "([^"\'\n]*)', TEXT)
    messages = {one for pattern in patterns for one in re.sub(r"[()]", "", pattern).split("|")}
    assert len(messages) > 5
    assert [message for message in messages if message not in SOURCE] == []


def test_readiness_texts_are_given():
    texts = re.findall(r'"((?:the|one|golden)[^"\'\n]+)"', TEXT)
    stems = {text.rstrip("….") for text in texts}
    assert len(stems) > 4
    assert [text for text in stems if text not in SOURCE] == []


def test_settings_exist():
    variables = set(re.findall(rf"{ENV_PREFIX}([A-Z_]+)", TEXT))
    assert variables
    assert {name.lower() for name in variables} <= set(Settings.model_fields)
