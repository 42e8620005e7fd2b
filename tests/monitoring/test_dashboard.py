"""The dashboard is what its code makes, fits Grafana's grid, and asks only for what exists."""

import itertools
import json

import pytest

from monitoring.dashboard import FILE, ROWS, dashboard, rendered
from tests.monitoring import expressions
from tests.monitoring.page import live_page
from tests.monitoring.rules import FOREIGN, recorded

BOARD = dashboard()
PANELS = {panel["title"]: panel for panel in BOARD["panels"] if panel["type"] != "row"}
EXPRS = [target["expr"] for panel in PANELS.values() for target in panel["targets"]]
COUNTERS = ("_total", "_bucket", "_sum", "_count")


def test_committed_file_is_what_the_code_makes():
    assert FILE.read_text(encoding="utf-8") == rendered(), "run python -m monitoring.dashboard"


def test_structure():
    assert json.loads(rendered()) == BOARD
    assert BOARD["schemaVersion"] >= 36
    ids = [panel["id"] for panel in BOARD["panels"]]
    assert len(set(ids)) == len(ids)
    assert len(PANELS) == sum(len(row.panels) for row in ROWS)
    variables = [variable["name"] for variable in BOARD["templating"]["list"]]
    assert variables == ["datasource", "namespace", "pod", "run"]


def test_panels_lie_on_the_grid_side_by_side():
    cells: set[tuple[int, int]] = set()
    for panel in BOARD["panels"]:
        at = panel["gridPos"]
        xs, ys = range(at["x"], at["x"] + at["w"]), range(at["y"], at["y"] + at["h"])
        own = set(itertools.product(xs, ys))
        assert max(xs) < 24
        assert not own & cells, panel["title"]
        cells |= own


@pytest.mark.parametrize("title", PANELS)
def test_panel_says_what_it_shows(title):
    panel = PANELS[title]
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"]
    references = [target["refId"] for target in panel["targets"]]
    assert len(set(references)) == len(references)
    assert panel["datasource"]["uid"] == "${datasource}"


@pytest.mark.parametrize("expr", EXPRS)
class TestExpression:
    def test_asks_for_what_exists(self, expr):
        tree = expressions.parse(expr)
        assert expressions.names(tree) <= {*live_page(), *recorded(), *FOREIGN}
        assert not expressions.unknown_labels(tree, live_page())

    def test_counters_are_rated_and_gauges_are_not(self, expr):
        tree = expressions.parse(expr)
        own = {name for name in expressions.names(tree) if name in live_page()}
        rated = {one.vector_selector.name for one in expressions.ranges(tree)}
        counters = {name for name in own if name.endswith(COUNTERS)}
        gauges = own - counters - {"process_start_time_seconds"}
        assert counters <= rated
        assert not {name for name in gauges if name in rated}

    def test_quantiles_are_of_rates_summed_by_le(self, expr):
        for node in expressions.nodes(expressions.parse(expr)):
            if type(node).__name__ == "Call" and node.func.name == "histogram_quantile":
                assert "le" in node.args[1].modifier.labels
                assert node.args[1].expr.func.name == "rate"

    def test_every_series_is_of_the_chosen_namespace(self, expr):
        for one in expressions.selectors(expressions.parse(expr)):
            chosen = {m.name for m in one.matchers.matchers if m.value == "$namespace"}
            assert chosen & {"namespace", "exported_namespace"}
