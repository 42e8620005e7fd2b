"""The source as tests read it: parsed files, their functions and classes, and how long each function is."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tests.promises.markdown import ROOT

Function = ast.FunctionDef | ast.AsyncFunctionDef


def files(*rooms: str) -> list[Path]:
    return sorted(path for room in rooms for path in (ROOT / room).rglob("*.py"))


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


def functions(path: Path) -> Iterator[Function]:
    return (node for node in ast.walk(parsed(path)) if isinstance(node, Function))


def length(function: Function) -> int:
    """Lines from def to the end; the docstring and decorators are not counted."""
    lines = (function.end_lineno or 0) - function.lineno + 1
    if ast.get_docstring(function) is None:
        return lines
    first = function.body[0]
    return lines - ((first.end_lineno or 0) - first.lineno + 1)


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """(level, module) of every import; level 0 is absolute."""
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            yield from ((0, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            yield from ((node.level, f"{base}.{alias.name}") for alias in node.names)


@cache
def names(*rooms: str) -> frozenset[str]:
    """Every class, every function, and every method as Class.method."""
    found = set()
    for path in files(*rooms):
        for node in ast.walk(parsed(path)):
            if isinstance(node, Function | ast.ClassDef):
                found.add(node.name)
            if isinstance(node, ast.ClassDef):
                own = (child.name for child in node.body if isinstance(child, Function))
                found |= {f"{node.name}.{name}" for name in own}
    return frozenset(found)
