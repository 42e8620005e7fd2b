"""The drill's rules are the shipped ones in all but their durations."""

import re

import pytest
import yaml

from monitoring.drill.scaling import FACTOR, faster
from tests.monitoring.rules import RULES

FILES = sorted(RULES.glob("*.yaml"))
DURATION = re.compile(r"\d+(?:ms|[smhd])\b")


@pytest.mark.parametrize(
    ("shipped", "drilled"),
    [
        ("        for: 30s", "        for: 1500ms"),
        ("    interval: 2m", "    interval: 6000ms"),
        ("rate(a_total[5m]) > 30", "rate(a_total[15000ms]) > 30"),
        ("a - a offset 1d > 4e9", "a - a offset 4320000ms > 4e9"),
        ("namespace:basereward_slow:ratio5m > 0.1", "namespace:basereward_slow:ratio5m > 0.1"),
        (
            "description: >-\n  for 15 minutes, over 30 s",
            "description: >-\n  for 15 minutes, over 30 s",
        ),
    ],
)
def test_durations_are_divided_and_nothing_else(shipped, drilled):
    assert faster(shipped, 20) == drilled


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_every_duration_of_a_shipped_file_is_found(file):
    def bare(text):
        rules = yaml.safe_load(text)["groups"]
        for group in rules:
            for rule in group["rules"]:
                rule.pop("annotations", None)
                rule["expr"] = re.sub(r"namespace\w*:[\w:]+", "RECORDED", rule["expr"])
                rule.pop("record", None)
        return str(rules)

    shipped, drilled = bare(file.read_text()), bare(faster(file.read_text()))
    assert all(found.endswith("ms") for found in DURATION.findall(drilled))
    assert DURATION.sub("", drilled) == DURATION.sub("", shipped)
    assert FACTOR > 1
