"""Rules ask only for what the server shows, and every alert is tested both ways and explained."""

import re

import pytest

from tests.monitoring import expressions
from tests.monitoring.page import live_page
from tests.monitoring.rules import FOREIGN, MONITORING, alerts, cases, recorded, rules

ALERTS = {alert["alert"]: alert for alert in alerts()}
DOCS = MONITORING.parent / "docs" / "alerts.md"
FIRING = re.compile(r'ALERTS\{alertname="(\w+)",alertstate="firing"\}')


def labels_of(metric: str) -> frozenset[str]:
    page = live_page()
    if metric in page:
        return frozenset(page[metric]) | expressions.TARGET
    if metric in recorded():
        return recorded()[metric]
    return FOREIGN[metric] | expressions.TARGET


def rule_name(rule):
    return rule.get("alert") or rule["record"]


@pytest.mark.parametrize("rule", rules(), ids=rule_name)
class TestRule:
    def test_every_metric_exists(self, rule):
        known = {*live_page(), *recorded(), *FOREIGN}
        assert expressions.names(expressions.parse(rule["expr"])) <= known

    def test_every_label_value_asked_for_exists(self, rule):
        assert not expressions.unknown_labels(expressions.parse(rule["expr"]), live_page())

    def test_every_grouping_label_exists(self, rule):
        for node in expressions.nodes(expressions.parse(rule["expr"])):
            if type(node).__name__ == "AggregateExpr" and node.modifier is not None:
                below = expressions.result_labels(node.expr, labels_of)
                assert set(node.modifier.labels) <= below, node.prettify()

    def test_nothing_depends_on_a_job(self, rule):
        assert "job" not in rule["expr"]


@pytest.mark.parametrize("rule", [r for r in rules() if "record" in r], ids=rule_name)
def test_a_recorded_name_says_its_labels(rule):
    result = expressions.result_labels(expressions.parse(rule["expr"]), labels_of)
    assert result | set(rule.get("labels", {})) == recorded()[rule["record"]]


def test_windows_differ_in_nothing_but_the_window():
    """Of each indicator; the window is in the name and in every range."""
    shapes: dict[str, set[str]] = {}
    for rule in rules():
        found = re.fullmatch(
            r"(namespace:basereward_(?:slow|unavailable):\w+?)(\d+[mhd])", rule.get("record", "")
        )
        if found:
            name, window = found.groups()
            shapes.setdefault(name, set()).add(rule["expr"].replace(window, "WINDOW"))
    assert len(shapes) == 4
    assert {len(exprs) for exprs in shapes.values()} == {1}


def test_scoring_routes_are_what_the_pattern_matches():
    others = {"/v1/models", "/info", "/version", "/docs", "/openapi.json", "/", "other"}
    routes = live_page()["basereward_requests_total"]["route"]
    patterns = {
        matcher.value
        for rule in rules()
        for one in expressions.selectors(expressions.parse(rule["expr"]))
        if one.name == "basereward_requests_total"
        for matcher in one.matchers.matchers
        if matcher.name == "route"
    }
    (pattern,) = patterns
    assert {route for route in routes if re.fullmatch(pattern, route)} == routes - others


def test_alert_names_are_unique():
    assert len(ALERTS) == len(alerts())


@pytest.mark.parametrize("name", ALERTS)
class TestAlert:
    def test_says_who_is_called_and_why(self, name):
        alert = ALERTS[name]
        assert alert["labels"] in ({"severity": "page"}, {"severity": "ticket"})
        assert set(alert["annotations"]) == {"summary", "description", "runbook_url"}
        assert "{{" not in alert["annotations"]["summary"]

    def test_text_names_only_labels_that_the_result_has(self, name):
        alert = ALERTS[name]
        has = expressions.result_labels(expressions.parse(alert["expr"]), labels_of)
        text = alert["annotations"]["description"]
        assert set(re.findall(r"\$labels\.(\w+)", text)) <= has

    def test_runbook_is_a_heading_of_the_docs(self, name):
        page, _, anchor = ALERTS[name]["annotations"]["runbook_url"].partition("#")
        assert page == "docs/alerts.md"
        headings = re.findall(r"^#+ (.+)$", DOCS.read_text(), re.MULTILINE)
        assert anchor == name.lower()
        assert [h for h in headings if h.lower() == anchor] == [name]

    def test_there_is_a_case_in_which_it_fires(self, name):
        fires = [
            test["exp_samples"]
            for case in cases()
            for test in case.get("promql_expr_test", [])
            if FIRING.findall(test["expr"]) == [name]
        ]
        assert fires
        assert all(fires)

    def test_there_is_a_near_miss(self, name):
        quiet = [
            case["name"]
            for case in cases()
            for test in case.get("alert_rule_test", [])
            if test["alertname"] == name and not test.get("exp_alerts")
        ]
        assert [case for case in quiet if "keep quiet" in case or "keeps quiet" in case]


def test_docs_explain_no_other_alert():
    headings = re.findall(r"^### (.+)$", DOCS.read_text(), re.MULTILINE)
    assert sorted(headings) == sorted(ALERTS)
