"""What a panel shows, and its Grafana JSON; no metric is named here."""

from dataclasses import dataclass
from typing import Any, Literal

Json = dict[str, Any]
Kind = Literal["timeseries", "stat", "heatmap", "table"]

WIDTH = 24  # columns of Grafana's grid
DATASOURCE: Json = {"type": "prometheus", "uid": "${datasource}"}
FORMATS = {"timeseries": "time_series", "stat": "time_series"}  # of a query's answer


@dataclass(frozen=True, slots=True)
class Query:
    expr: str
    legend: str = ""


@dataclass(frozen=True, slots=True)
class Panel:
    title: str
    description: str
    unit: str  # Grafana's name of it
    queries: tuple[Query, ...]
    kind: Kind = "timeseries"
    width: int = 8  # columns
    height: int = 8
    stacked: bool = False
    red_from: float | None = None  # where values turn red; with `good_high`, below it
    good_high: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    title: str
    panels: tuple[Panel, ...]


def panel_json(panel: Panel, number: int, x: int, y: int) -> Json:
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": DATASOURCE,
        "gridPos": {"x": x, "y": y, "w": panel.width, "h": panel.height},
        "targets": [_target(panel, q, i) for i, q in enumerate(panel.queries)],
        "fieldConfig": {"defaults": _defaults(panel), "overrides": []},
        "options": _options(panel),
    }


def row_json(row: Row, number: int, y: int) -> Json:
    where = {"x": 0, "y": y, "w": WIDTH, "h": 1}
    return {
        "id": number,
        "type": "row",
        "title": row.title,
        "collapsed": False,
        "gridPos": where,
        "panels": [],
    }


def _target(panel: Panel, query: Query, index: int) -> Json:
    return {
        "refId": chr(ord("A") + index),
        "datasource": DATASOURCE,
        "expr": query.expr,
        "legendFormat": query.legend,
        "format": FORMATS.get(panel.kind, panel.kind),
        "instant": panel.kind in ("stat", "table"),
        "range": panel.kind not in ("stat", "table"),
    }


def _defaults(panel: Panel) -> Json:
    defaults: Json = {"unit": panel.unit, "thresholds": _thresholds(panel)}
    if panel.kind == "timeseries":
        defaults["custom"] = {
            "fillOpacity": 30 if panel.stacked else 0,
            "stacking": {"mode": "normal" if panel.stacked else "none", "group": "A"},
            "thresholdsStyle": {"mode": "off" if panel.red_from is None else "line"},
        }
    return defaults


def _thresholds(panel: Panel) -> Json:
    steps: list[Json] = [{"color": "red" if panel.good_high else "green", "value": None}]
    if panel.red_from is not None:
        colour = "green" if panel.good_high else "red"
        steps.append({"color": colour, "value": panel.red_from})
    return {"mode": "absolute", "steps": steps}


def _options(panel: Panel) -> Json:
    if panel.kind == "heatmap":
        return {"calculate": False, "yAxis": {"unit": panel.unit}, "cellGap": 0}
    if panel.kind == "stat":
        return {"reduceOptions": {"calcs": ["lastNotNull"]}, "colorMode": "value"}
    if panel.kind == "timeseries":
        return {
            "legend": {"displayMode": "list", "placement": "bottom"},
            "tooltip": {"mode": "multi", "sort": "desc"},
        }
    return {}
