"""PromQL taken apart: which series an expression reads, and which labels its result has."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import promql_parser as promql

TARGET = frozenset({"namespace", "pod", "instance"})  # what a scrape adds to every series
Labels = Callable[[str], frozenset[str]]  # of a metric, by its name

_VARIABLES = {"$__rate_interval": "5m", "$__range": "6h"}


def parse(expr: str) -> Any:
    """The expression's tree; Grafana's own intervals are replaced first."""
    for name, value in _VARIABLES.items():
        expr = expr.replace(name, value)
    return promql.parse(expr)


def children(node: Any) -> list[Any]:
    kind = type(node).__name__
    if kind == "BinaryExpr":
        return [node.lhs, node.rhs]
    if kind == "Call":
        return list(node.args)
    if kind == "MatrixSelector":
        return [node.vector_selector]
    if kind in ("AggregateExpr", "ParenExpr", "SubqueryExpr", "UnaryExpr"):
        return [node.expr]
    assert kind in ("VectorSelector", "NumberLiteral", "StringLiteral"), kind
    return []


def nodes(node: Any) -> Iterator[Any]:
    yield node
    for child in children(node):
        yield from nodes(child)


def selectors(node: Any) -> list[Any]:
    return [one for one in nodes(node) if type(one).__name__ == "VectorSelector"]


def ranges(node: Any) -> list[Any]:
    return [one for one in nodes(node) if type(one).__name__ == "MatrixSelector"]


def names(node: Any) -> set[str]:
    return {one.name for one in selectors(node)}


def result_labels(node: Any, of_metric: Labels) -> frozenset[str]:
    """Labels that every series of the result can have."""
    kind = type(node).__name__
    if kind == "VectorSelector":
        return of_metric(node.name)
    if kind == "AggregateExpr":
        return _aggregated(node, of_metric)
    if kind == "BinaryExpr":
        return _combined(node, of_metric)
    if kind == "Call" and node.func.name in ("absent", "vector", "time"):
        return frozenset()
    below = [result_labels(child, of_metric) for child in children(node)]
    labels = frozenset().union(*below)
    is_quantile = kind == "Call" and node.func.name == "histogram_quantile"
    return labels - {"le"} if is_quantile else labels


def _aggregated(node: Any, of_metric: Labels) -> frozenset[str]:
    if node.modifier is None:
        return frozenset()
    listed = frozenset(node.modifier.labels)
    if "By" in str(node.modifier.type):
        return listed
    return result_labels(node.expr, of_metric) - listed


def _combined(node: Any, of_metric: Labels) -> frozenset[str]:
    left, right = (result_labels(side, of_metric) for side in (node.lhs, node.rhs))
    if str(node.op) == "or":
        return left & right
    return left or right  # one side may be a number


def matches(matcher: Any, values: frozenset[str]) -> bool:
    """Whether the label ever has what is asked for (or, where it is excluded, has anything to exclude)."""
    if "$" in matcher.value:  # a variable of the dashboard
        return True
    if matcher.op in (promql.MatchOp.Equal, promql.MatchOp.NotEqual):
        return matcher.value in values
    wanted = matcher.value.split("|") if "(" not in matcher.value else [matcher.value]
    return all(any(re.fullmatch(one, value) for value in values) for one in wanted)


def unknown_labels(node: Any, page: Mapping[str, Mapping[str, frozenset[str]]]) -> list[str]:
    """Matchers that select nothing on the page, as `metric{label}`; metrics that are not on it are left out."""
    return [
        f"{one.name}{{{matcher.name}={matcher.value}}}"
        for one in selectors(node)
        if one.name in page
        for matcher in one.matchers.matchers
        if matcher.name not in TARGET
        and not matches(matcher, page[one.name].get(matcher.name, frozenset()))
    ]
