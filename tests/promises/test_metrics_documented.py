"""docs/metrics.md names every metric with its type and labels, every label value, and nothing that does not exist."""

import re

import pytest

from service.errors import STATUS_BY_CODE
from tests.promises.exposition import families, serving
from tests.promises.markdown import fences, page, spans, table

PAGE = page("docs/metrics.md")
FAMILIES = families(serving())
KINDS = {"Counters": "counter", "Histograms": "histogram", "Gauges": "gauge"}
VALUES = {row[0].strip("`"): row[1] for row in table(PAGE, "label", "values")}
QUERIES = "\n".join(fences(PAGE, "promql"))


def documented() -> dict[str, tuple[str, list[str]]]:
    """Name → (type, labels), from the three tables."""
    found = {}
    for section in PAGE.split("\n## "):
        kind = KINDS.get(section.splitlines()[0])
        for name, labels, _ in table(section, "name", "labels", "meaning"):
            found[name.strip("`")] = (kind, re.findall(r"`(\w+)`", labels))
    return found


def test_the_sets_are_equal():
    assert sorted(documented()) == sorted(FAMILIES)


@pytest.mark.parametrize("name", FAMILIES)
def test_type_and_labels(name):
    kind, labels = documented()[name]
    assert kind == FAMILIES[name].kind
    assert sorted(labels) == sorted(FAMILIES[name].labels)


@pytest.mark.parametrize("label", ["route", "outcome", "kind"])
def test_label_values(label):
    real = {value for f in FAMILIES.values() for value in f.labels.get(label, ())}
    assert set(spans(VALUES[label])) == real


def test_status_values_are_those_of_requests():
    real = FAMILIES["basereward_requests_total"].labels["status"]
    assert set(spans(VALUES["status"])) == real


def test_reasons_are_the_error_codes():
    assert FAMILIES["basereward_rejections_total"].labels["reason"] == set(STATUS_BY_CODE)
    assert "error code" in VALUES["reason"]


def test_queries_name_real_series():
    real = {sample for family in FAMILIES.values() for sample in family.samples}
    named = set(re.findall(r"basereward_\w+", QUERIES))
    assert len(named) >= 8
    assert named <= real


def test_queries_match_real_label_values():
    real = {value for f in FAMILIES.values() for values in f.labels.values() for value in values}
    matched = re.findall(r'\b(?:route|status|outcome|kind|reason)=~?"([^"]+)"', QUERIES)
    assert matched
    assert {value for text in matched for value in text.split("|")} <= real


def test_queries_match_real_buckets():
    text = serving().render().decode()
    matched = re.findall(r'(basereward_\w+_bucket)\{(le="[^"]+")', QUERIES)
    assert matched
    assert all(f"{name}{{{bucket}}}" in text for name, bucket in matched)


def test_named_anywhere_is_real():
    real = {s for f in FAMILIES.values() for s in f.samples} | set(FAMILIES)
    assert set(re.findall(r"basereward_\w+", PAGE)) <= real
