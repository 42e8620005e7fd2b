"""`python -m monitoring.dashboard`: writes the Grafana dashboard; edit the rows in monitoring/board, not the JSON."""

import json
from collections.abc import Sequence
from pathlib import Path

from monitoring.board.callers import OBJECTIVES, TRAFFIC
from monitoring.board.fleet import BILL, HOST, PODS
from monitoring.board.panel import DATASOURCE, WIDTH, Json, Panel, Row, panel_json, row_json
from monitoring.board.rewards import REWARDS
from monitoring.board.steps import LATENCY, STEPS

FILE = Path(__file__).parent / "dashboards" / "basereward.json"
ROWS = (OBJECTIVES, TRAFFIC, LATENCY, STEPS, HOST, REWARDS, PODS, BILL)
EVERYTHING = ".*"  # matches a label that is absent, too: outside Kubernetes there is no namespace


def dashboard() -> Json:
    return {
        "uid": "basereward",
        "title": "Reward server",
        "description": "Objectives, traffic, steps, machines, rewards, pods and the bill of the reward server.",
        "tags": ["basereward"],
        "schemaVersion": 39,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "timezone": "browser",
        "templating": {"list": _variables()},
        "annotations": {"list": [_firing()]},
        "panels": _panels(ROWS),
    }


def rendered() -> str:
    return json.dumps(dashboard(), indent=1, ensure_ascii=False) + "\n"


def _panels(rows: Sequence[Row]) -> list[Json]:
    panels: list[Json] = []
    y = 0
    for row in rows:
        panels.append(row_json(row, len(panels) + 1, y))
        y += 1
        for line in _lines(row):
            x = 0
            for panel in line:
                panels.append(panel_json(panel, len(panels) + 1, x, y))
                x += panel.width
            y += max(panel.height for panel in line)
    return panels


def _lines(row: Row) -> list[list[Panel]]:
    """Panels side by side, as many as the grid is wide."""
    lines: list[list[Panel]] = [[]]
    for panel in row.panels:
        if sum(p.width for p in lines[-1]) + panel.width > WIDTH:
            lines.append([])
        lines[-1].append(panel)
    return lines


def _variables() -> list[Json]:
    return [
        {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"},
        _variable("namespace", "label_values(basereward_ready, namespace)"),
        _variable("pod", 'label_values(basereward_ready{namespace=~"$namespace"}, pod)'),
        _variable("run", 'label_values(basereward_run_groups_total{namespace=~"$namespace"}, run)'),
    ]


def _variable(name: str, query: str) -> Json:
    return {
        "name": name,
        "label": name.capitalize(),
        "type": "query",
        "datasource": DATASOURCE,
        "query": {"query": query, "refId": name},
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": EVERYTHING,
        "current": {"text": "All", "value": "$__all"},
    }


def _firing() -> Json:
    return {
        "name": "Alerts",
        "datasource": DATASOURCE,
        "enable": True,
        "iconColor": "red",
        "expr": 'ALERTS{alertstate="firing",severity="page",namespace=~"$namespace"}',
        "titleFormat": "{{alertname}}",
        "textFormat": "{{pod}}",
    }


if __name__ == "__main__":
    FILE.write_text(rendered(), encoding="utf-8")
